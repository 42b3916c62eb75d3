import type { Json } from '../shared/foundation/json.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { SystemRequest, SystemTarget } from '../shared/ports/device-link.ts';
import type { Call } from './call.ts';
import { toJson } from './json.ts';
import { checkName } from './status.ts';

/** A module of the system, addressed by name and index. It need not be there yet. */
export interface SystemModule {
  /** Such as `Display_1`. */
  readonly name: string;
  /**
   * Runs a method wherever the module is controlled. It ends with the call that it is made for: by its deadline, and
   * when that is given up; in the driver's own work after 10 s.
   */
  exec(method: string, ...args: Json[]): Promise<Json>;
  /** The last value of a status variable; null when there is none. */
  status(key: string): Promise<Json>;
  /**
   * Called with the value now, if there is one, and on each change. It goes on whatever happens to the list of the
   * system: the module may come later, be moved, or be replaced by another.
   */
  subscribe(key: string, listener: (value: Json) => void | Promise<void>): { cancel(): void };
}

/** The system that lists the module. */
export interface SystemOfModule {
  /** `Display_1`, or `Display` for the first. Throws RangeError for what cannot be a name, NOT_FOUND when no system lists this module. */
  get(name: string): SystemModule;
  /** Every module of that name, as the system lists them now. */
  all(name: string): Promise<SystemModule[]>;
}

/** The way of a module to its system. */
export interface SystemPort {
  /** Throws what the method or the node says. Aborting gives up. */
  ask(request: SystemRequest, signal: AbortSignal): Promise<Json>;
  watch(target: SystemTarget & { key: string }, listener: (value: Json) => void): () => void;
}

interface SystemOptions {
  module: string;
  /** Ids of the systems that list it. */
  systems: readonly string[];
  port: SystemPort;
  clock: Clock;
  /** Aborts when the module stops, or other code takes the place of this. */
  signal: AbortSignal;
  /** Aborts when the module stops: what a call has asked goes on until then. */
  stopping: AbortSignal;
  /** For whom the code that runs now runs; null in the driver's own work. */
  call(): Call | null;
  /** Runs a task of the driver; never throws or rejects. */
  run(task: () => void | Promise<void>): unknown;
}

export function createSystem(options: SystemOptions): SystemOfModule {
  const { module, systems, port, signal, run } = options;
  const targetOf = (name: string): SystemTarget => {
    if (systems.length === 0) throw new HoldfastError('NOT_FOUND', { kind: 'system', id: `of ${module}: none lists it as its logic` });
    return parseTarget(name);
  };
  let subscriptions = 0;
  const ask = boundedAsk(options);

  const moduleAt = (target: SystemTarget): SystemModule => ({
    name: `${target.name}_${target.index}`,
    exec: (method, ...args) =>
      ask((call, deadlineMs) => {
        checkName(method);
        return { kind: 'exec', ...target, method, args: args.map(toJson), user: call?.user ?? module, deadlineMs };
      }),
    status: (key) =>
      ask(() => {
        checkName(key);
        return { kind: 'status', ...target, key };
      }),
    subscribe: (key, listener) => {
      checkName(key);
      signal.throwIfAborted();
      const limit = limits.systemSubscriptions;
      if (subscriptions >= limit) throw new RangeError(`more than ${limit} subscriptions`);
      subscriptions += 1;
      const stop = port.watch({ ...target, key }, (value) => void run(() => listener(value)));
      let ended = false;
      const cancel = (): void => {
        if (ended) return;
        ended = true;
        subscriptions -= 1;
        signal.removeEventListener('abort', cancel);
        stop();
      };
      signal.addEventListener('abort', cancel, { once: true });
      return { cancel };
    },
  });
  return {
    get: (name) => moduleAt(targetOf(name)),
    all: async (name) => {
      const target = targetOf(name);
      const count = await ask(() => ({ kind: 'count', name: target.name }));
      return Array.from({ length: Number(count) }, (_, at) => moduleAt({ name: target.name, index: at + 1 }));
    },
  };
}

/**
 * Requests of one module: bounded in number, so that modules that call each other in a circle meet an error and not the
 * end of the memory, and never without a deadline.
 */
function boundedAsk({ module, port, clock, signal: own, stopping, call }: SystemOptions) {
  let pending = 0;
  return async (make: (call: Call | null, deadlineMs: number) => SystemRequest): Promise<Json> => {
    const asking = call();
    const caller = asking?.over ? null : asking;
    const signal = caller === null ? own : stopping;
    signal.throwIfAborted();
    if (caller?.error) throw caller.error;
    const limit = limits.systemRequests;
    if (pending >= limit) throw new HoldfastError('QUEUE_FULL', { module, limit });
    const deadlineMs = Math.min(caller?.deadlineMs ?? Infinity, clock.monotonicMs() + limits.requestMs);
    const request = make(caller, deadlineMs);
    const ended = new AbortController();
    const giveUp = (): void => ended.abort(caller?.error ?? new HoldfastError('CANCELLED', { fate: 'unknown' }));
    const expire = (): void => ended.abort(new HoldfastError('DEADLINE', { fate: 'unknown' }));
    if (request.kind === 'exec') caller?.markSent();
    caller?.abandoned.addEventListener('abort', giveUp);
    signal.addEventListener('abort', giveUp, { once: true });
    const timer = clock.after(deadlineMs - clock.monotonicMs(), expire);
    pending += 1;
    try {
      return await port.ask(request, ended.signal);
    } finally {
      pending -= 1;
      timer.cancel();
      caller?.abandoned.removeEventListener('abort', giveUp);
      signal.removeEventListener('abort', giveUp);
    }
  };
}

function parseTarget(text: string): SystemTarget {
  const [, name, index = '1'] = /^([A-Za-z][A-Za-z0-9]{0,59})(?:_([1-9]\d{0,3}))?$/.exec(text) ?? [];
  if (name === undefined) throw new RangeError(`"${text}" is no name of a module; write such as Display_1`);
  return { name, index: Number(index) };
}
