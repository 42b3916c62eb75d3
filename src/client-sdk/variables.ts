import { type Json, jsonEqual } from '../shared/foundation/json.ts';
import type { HoldfastError } from '../shared/model/errors.ts';
import type { Meta } from './frames.ts';

export interface BindListener {
  /** Now and on each change; null: never set. */
  value(value: Json): void;
  /** The server refuses it, for example because there is no such system. It is asked for again at the next server. */
  refused?(error: HoldfastError): void;
}

interface Variable {
  readonly meta: Meta;
  readonly listeners: Set<BindListener>;
  /** As the listeners know it; undefined: nothing was told yet. */
  value: Json | undefined;
  /** Number of the connection that reported it last; what older ones still say is over. */
  from: number;
  /** Number of the newest connection that answered the binding. */
  answered: number;
  /** The connection reports null although a value is known. */
  forgotten: boolean;
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
    if (known?.value !== undefined) listener.value(known.value);
    if (known !== undefined) return false;
    this.#variables.set(key, { meta, listeners: new Set([listener]), value: undefined, from: 0, answered: 0, forgotten: false });
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
   * A server that has just begun to drive devices reports null until they have answered: a known value outlives that,
   * as it does at a server (docs/api.md), until `settle`.
   */
  report(from: number, meta: Meta, value: Json): void {
    const variable = this.#variables.get(keyOf(meta));
    if (variable === undefined || from < variable.from) return;
    const isFirst = from > variable.from;
    variable.from = from;
    variable.forgotten = value === null && variable.value !== undefined && (isFirst || variable.forgotten);
    if (!variable.forgotten) tell(variable, value);
  }

  /** The server had its time: what it does not know by now is null. */
  settle(from: number): void {
    for (const variable of this.#variables.values()) {
      if (variable.from !== from || !variable.forgotten) continue;
      variable.forgotten = false;
      tell(variable, null);
    }
  }
}

function tell(variable: Variable, value: Json): void {
  if (variable.value !== undefined && jsonEqual(variable.value, value)) return;
  variable.value = value;
  // A copy: who is added meanwhile has heard the value already.
  for (const listener of Array.from(variable.listeners)) listener.value(value);
}
