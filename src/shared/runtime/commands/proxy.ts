import type { CancelSignal } from '../../foundation/cancel.ts';
import type { Json } from '../../foundation/json.ts';
import type { Epoch } from '../../model/control.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { DeviceLink, ModuleFunction, ModulesOrder, ReloadedModule, ReloadOrder } from '../../ports/device-link.ts';
import type { Target } from '../documents/directory.ts';
import { bodyFor, execAnswer, expireAnswer, functionsAnswer, modulesAnswer, readAnswer, reloadAnswer, triggerAnswer } from '../peer/peer-bodies.ts';

/** What the other node may be asked to do with a module. */
type ForwardedKind = 'exec' | 'functions' | 'reload' | 'trigger' | 'modules' | 'expire';

/** Where a command for a location goes right now, as its node sees it. */
export type Route =
  /** This node drives the devices. */
  | { via: 'here'; epoch: Epoch }
  /** The node at the other end of a link does, or knows who does. */
  | { via: 'peer'; peer: string; request(kind: ForwardedKind, body: Json, options: { signal: CancelSignal; timeoutMs: number }): Promise<Json> }
  /** Control is changing hands: worth waiting for. */
  | { via: 'wait' }
  | { via: 'nobody'; reason: string };

export interface ProxyOptions {
  nodeId: string;
  clock: Clock;
  deviceLink: DeviceLink;
  /** A webhook of a trigger was called, and this node drives its location: what came of it. */
  callTrigger(call: TriggerCall): string;
  route(location: string): Route;
  /** Calls back at each change of control of the location. Returns the way to stop. */
  onControlChange(location: string, listener: () => void): () => void;
}

export interface TriggerCall {
  location: string;
  instance: string;
  /** Names the call: the same one twice is one. */
  call: string;
}

/** Who asks, and until when. */
interface Asked {
  user: string;
  /** Id of the user's credential, for the audits of the nodes that it passes. */
  who?: string | undefined;
  /** Id of the node that let the user in. */
  entry: string;
  requestId: string;
  /** Monotonic milliseconds. */
  deadlineMs: number;
}

export interface ProxyCall extends Asked {
  location: string;
  module: string;
  method: string;
  args: Json[];
  /** Where it is now: a node, or `waits`. */
  at: string;
}

export interface ProxyAnswer {
  value: Json;
  servedBy: string;
}

export interface ReloadCall extends ReloadOrder, Asked {}

export interface ReloadedBy {
  modules: ReloadedModule[];
  servedBy: string;
}

export interface ModulesCall extends Omit<ModulesOrder, 'by'>, Asked {}

export interface ModulesBy {
  /** Those that it concerned. */
  modules: string[];
  servedBy: string;
}

export interface ExpireCall extends Asked {
  location: string;
  system: string;
}

/** One call, and how it is done at either node. */
interface Routed<T> {
  location: string;
  deadlineMs: number;
  here(epoch: Epoch): Promise<T>;
  peer(peer: Extract<Route, { via: 'peer' }>, timeoutMs: number): Promise<T>;
  /** Where it is now. */
  isAt(place: string): void;
}

/**
 * Brings a command to whoever drives the devices. While control changes hands, commands wait in a bounded
 * queue; each is then run once, or answered with a coded error that says what became of it.
 */
export class Proxy {
  readonly #options: ProxyOptions;
  #waiting = 0;

  constructor(options: ProxyOptions) {
    this.#options = options;
  }

  /** `forward: false` for a command that a peer sent: it is not passed on to where it came from. */
  exec(call: ProxyCall, signal: CancelSignal, forward = true): Promise<ProxyAnswer> {
    const { nodeId, deviceLink } = this.#options;
    const { location, module, method, args, user, who, entry, requestId, deadlineMs } = call;
    const routed: Routed<ProxyAnswer> = {
      location,
      deadlineMs,
      here: async (epoch) => {
        const value = await deviceLink.exec({ location, module, method, args, user, requestId, deadlineMs, epoch }, signal);
        return { value, servedBy: nodeId };
      },
      peer: async (peer, timeoutMs) => {
        const answer = await peer.request('exec', bodyFor(who, { location, module, method, args, user, entry, requestId }), { signal, timeoutMs });
        return readAnswer(execAnswer, answer, 'exec');
      },
      isAt: (place) => (call.at = place),
    };
    return this.#carryOut(routed, signal, forward);
  }

  /** The public methods of a module, as whoever drives it says. */
  functions({ location, module }: Target, { signal, deadlineMs }: { signal: CancelSignal; deadlineMs: number }, forward = true) {
    const routed: Routed<Record<string, ModuleFunction>> = {
      location,
      deadlineMs,
      here: () => this.#options.deviceLink.functions(location, module),
      peer: async (peer, timeoutMs) => {
        const answer = await peer.request('functions', { location, module }, { signal, timeoutMs });
        return readAnswer(functionsAnswer, answer, 'functions');
      },
      isAt: () => undefined,
    };
    return this.#carryOut(routed, signal, forward);
  }

  /** Loads the code of a driver anew where its modules are driven. */
  reload(call: ReloadCall, signal: CancelSignal, forward = true): Promise<ReloadedBy> {
    const { location, driver, module, live = null, user, who, entry, requestId, deadlineMs } = call;
    const { nodeId, deviceLink } = this.#options;
    const routed: Routed<ReloadedBy> = {
      location,
      deadlineMs,
      here: async () => ({ modules: await deviceLink.reload({ location, driver, module, live }, signal), servedBy: nodeId }),
      peer: async (peer, timeoutMs) => {
        const trial = live === null ? null : { edit: live.edit === null ? null : { ...live.edit }, modules: [...live.modules], by: live.by };
        const body = bodyFor(who, { location, driver, module, live: trial, user, entry, requestId });
        const answer = await peer.request('reload', body, { signal, timeoutMs });
        return readAnswer(reloadAnswer, answer, 'reload');
      },
      isAt: () => undefined,
    };
    return this.#carryOut(routed, signal, forward);
  }

  /** What an operator wants of modules beside the documents, where they are driven. */
  modules({ location, action, modules, user, who, entry, requestId, deadlineMs }: ModulesCall, signal: CancelSignal, forward = true): Promise<ModulesBy> {
    const { nodeId, deviceLink } = this.#options;
    const routed: Routed<ModulesBy> = {
      location,
      deadlineMs,
      here: async () => ({ modules: await deviceLink.manage({ location, action, modules, by: user }, signal), servedBy: nodeId }),
      peer: async (peer, timeoutMs) => {
        const body = bodyFor(who, { location, action, modules: [...modules], user, entry, requestId });
        const answer = await peer.request('modules', body, { signal, timeoutMs });
        return readAnswer(modulesAnswer, answer, 'modules');
      },
      isAt: () => undefined,
    };
    return this.#carryOut(routed, signal, forward);
  }

  /** Ids of the nodes that it was done at, besides this one. */
  expire({ location, system, user, who, entry, requestId, deadlineMs }: ExpireCall, signal: CancelSignal): Promise<string[]> {
    const routed: Routed<string[]> = {
      location,
      deadlineMs,
      here: async () => [],
      peer: async (peer, timeoutMs) =>
        readAnswer(expireAnswer, await peer.request('expire', bodyFor(who, { location, system, user, entry, requestId }), { signal, timeoutMs }), 'expire'),
      isAt: () => undefined,
    };
    return this.#carryOut(routed, signal, true);
  }

  /** Tells whoever drives that a webhook was called; it answers before it acts. */
  trigger(call: TriggerCall, { signal, deadlineMs }: { signal: CancelSignal; deadlineMs: number }, forward = true): Promise<string> {
    const routed: Routed<string> = {
      location: call.location,
      deadlineMs,
      here: async () => this.#options.callTrigger(call),
      peer: async (peer, timeoutMs) => readAnswer(triggerAnswer, await peer.request('trigger', { ...call }, { signal, timeoutMs }), 'trigger'),
      isAt: () => undefined,
    };
    return this.#carryOut(routed, signal, forward);
  }

  async #carryOut<T>(routed: Routed<T>, signal: CancelSignal, forward: boolean): Promise<T> {
    const { clock, nodeId } = this.#options;
    const { location, deadlineMs } = routed;
    const nowMs = clock.monotonicMs();
    // Whoever has no time left gives up without knowing that nothing ran.
    const marginMs = Math.min(limits.changingAnswerMs, (deadlineMs - nowMs) / 2);
    const patienceMs = Math.min(deadlineMs - marginMs, nowMs + limits.changingQueueMs);
    for (;;) {
      const route = this.#options.route(location);
      switch (route.via) {
        case 'here': {
          routed.isAt(nodeId);
          try {
            return await routed.here(route.epoch);
          } catch (error) {
            // Not even begun, because its modules stop: it waits for the next holder like any other.
            if (!isNotBegun(error)) throw this.#explain(error, location);
            if (this.#options.route(location).via === 'here') throw error;
            break;
          }
        }
        case 'peer':
          if (!forward) throw this.#changing(location);
          routed.isAt(route.peer);
          return routed.peer(route, Math.max(0, deadlineMs - clock.monotonicMs()));
        case 'wait':
          routed.isAt('waits');
          await this.#controlToSettle(location, patienceMs, signal);
          break;
        case 'nobody':
          throw new HoldfastError('NO_HOLDER', { location, reason: route.reason });
      }
    }
  }

  /** A write that the closing gate refused is an answer that the caller can act on. */
  #explain(error: unknown, location: string): unknown {
    const closed = error instanceof HoldfastError && (error.code === 'GATE_CLOSED' || error.code === 'STALE_EPOCH');
    return closed ? this.#changing(location, error) : error;
  }

  #changing(location: string, cause?: unknown): HoldfastError {
    return new HoldfastError('CONTROL_CHANGING', { location, retryAfterMs: 1_000 }, { cause });
  }

  async #controlToSettle(location: string, untilMs: number, signal: CancelSignal): Promise<void> {
    const { clock, onControlChange } = this.#options;
    if (this.#waiting >= limits.changingQueue || clock.monotonicMs() >= untilMs) throw this.#changing(location);
    // An event that has passed calls nobody.
    if (signal.aborted) throw new HoldfastError('CANCELLED', { fate: 'not-sent' });
    this.#waiting += 1;
    try {
      await new Promise<void>((resolve, reject) => {
        const done = (settle: () => void) => (): void => {
          stop();
          timer.cancel();
          signal.removeEventListener('abort', cancelled);
          settle();
        };
        const stop = onControlChange(location, done(resolve));
        const timer = clock.after(untilMs - clock.monotonicMs(), done(resolve));
        const cancelled = done(() => reject(new HoldfastError('CANCELLED', { fate: 'not-sent' })));
        signal.addEventListener('abort', cancelled, { once: true });
      });
    } finally {
      this.#waiting -= 1;
    }
  }
}

const isNotBegun = (error: unknown): boolean => error instanceof HoldfastError && error.code === 'MODULE_NOT_RUNNING' && error.facts['nested'] !== true;
