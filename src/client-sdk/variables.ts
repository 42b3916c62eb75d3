import { type Json, jsonEqual } from '../shared/foundation/json.ts';
import type { HoldfastError } from '../shared/model/errors.ts';
import { compareRevisions, type Revision } from '../shared/model/control.ts';
import type { Meta } from './frames.ts';

export interface BindListener {
  /** Now and on each change; null: never set. */
  value(value: Json): void;
  /** The server refuses it, for example because there is no such system. It is asked for again at the next server. */
  refused?(error: HoldfastError): void;
}

/** A value as a server reported it. */
interface Report {
  readonly value: Json;
  /** null: it was never set. */
  readonly revision: Revision | null;
}

interface Variable {
  readonly meta: Meta;
  readonly listeners: Set<BindListener>;
  /** As the listeners know it; null: nothing was told yet. */
  told: Report | null;
  /** Number of the newest connection that reported it. */
  from: number;
  /** Number of the newest connection that answered the binding. */
  answered: number;
  /** What the connection reports although something newer is known. */
  behind: Report | null;
  /** What is known comes from a connection that is being left: until the newest has caught up, it tells what was told before. */
  isAhead: boolean;
}

const keyOf = ({ sys, mod, index, name }: Meta): string => JSON.stringify([sys, mod, index, name]);

/** The variables that a session is bound to. Each value is told once, whichever connections report it. Pure. */
export class Variables {
  readonly #variables = new Map<string, Variable>();

  /** True: nobody was bound to it before. */
  add(meta: Meta, listener: BindListener): boolean {
    const key = keyOf(meta);
    const known = this.#variables.get(key);
    known?.listeners.add(listener);
    if (known !== undefined && known.told !== null) listener.value(known.told.value);
    if (known !== undefined) return false;
    this.#variables.set(key, { meta, listeners: new Set([listener]), told: null, from: 0, answered: 0, behind: null, isAhead: false });
    return true;
  }

  /** True: nobody is bound to it any more. */
  remove(meta: Meta, listener: BindListener): boolean {
    const variable = this.#variables.get(keyOf(meta));
    if (variable === undefined || !variable.listeners.delete(listener) || variable.listeners.size > 0) return false;
    return this.#variables.delete(keyOf(meta));
  }

  all(): Meta[] {
    return [...this.#variables.values()].map(({ meta }) => meta);
  }

  systems(): Set<string> {
    return new Set([...this.#variables.values()].map(({ meta }) => meta.sys));
  }

  /** The server of connection number `from` took the binding, or refused it. */
  answer(from: number, meta: Meta, error: HoldfastError | null): void {
    const variable = this.#variables.get(keyOf(meta));
    if (variable === undefined) return;
    variable.answered = Math.max(variable.answered, from);
    if (error !== null) for (const listener of variable.listeners) listener.refused?.(error);
  }

  /** Is everything bound at this connection? */
  isComplete(from: number): boolean {
    return [...this.#variables.values()].every(({ answered }) => answered >= from);
  }

  /**
   * A server that has just begun to serve may be behind: with reports that are still on their way from the holder, or
   * with null until the devices have answered. What is known outlives that until `settle`. One that is being left may be
   * ahead: of a command that it still answers the next server may never hear.
   */
  report(from: number, { meta, value, revision }: Report & { readonly meta: Meta }): void {
    const variable = this.#variables.get(keyOf(meta));
    if (variable === undefined) return;
    const { told, behind } = variable;
    const report = { value, revision };
    if (from < variable.from) {
      if (told === null || !isOlder(told.revision, revision)) return;
      variable.isAhead = true;
      variable.behind = null;
      return tell(variable, report);
    }
    const isFirst = from > variable.from;
    const isOld = told !== null && isOlder(revision, told.revision);
    if (isOld && !isFirst && variable.isAhead) return;
    variable.from = from;
    variable.isAhead = false;
    const isBehind = isOld && (isFirst || behind !== null);
    variable.behind = isBehind ? report : null;
    if (!isBehind) tell(variable, report);
  }

  /** The server had its time: what it says by now is so. */
  settle(from: number): void {
    for (const variable of this.#variables.values()) {
      const { behind } = variable;
      if (variable.from !== from || behind === null) continue;
      variable.behind = null;
      tell(variable, behind);
    }
  }
}

const isOlder = (a: Revision | null, b: Revision | null): boolean => b !== null && (a === null || compareRevisions(a, b) < 0);

function tell(variable: Variable, report: Report): void {
  const { told } = variable;
  variable.told = report;
  if (told !== null && jsonEqual(told.value, report.value)) return;
  // A copy: who is added meanwhile has heard the value already.
  for (const listener of Array.from(variable.listeners)) listener.value(report.value);
}
