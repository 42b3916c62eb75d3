import type { Json } from '../foundation/json.ts';
import type { Epoch } from '../model/control.ts';
import { HoldfastError } from '../model/errors.ts';
import { limits } from '../model/limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { DeviceLink } from '../ports/device-link.ts';

/** Where a command for a location goes right now, as its node sees it. */
export type Route =
  /** This node drives the devices. */
  | { via: 'here'; epoch: Epoch }
  /** The node at the other end of a link does, or knows who does. */
  | { via: 'peer'; request(kind: 'exec', body: Json, options: { signal: AbortSignal; timeoutMs: number }): Promise<Json> }
  /** Control is changing hands: worth waiting for. */
  | { via: 'wait' }
  | { via: 'nobody'; reason: string };

export interface ProxyOptions {
  nodeId: string;
  clock: Clock;
  deviceLink: DeviceLink;
  route(location: string): Route;
  /** Calls back at each change of control of the location. Returns the way to stop. */
  onControlChange(location: string, listener: () => void): () => void;
}

export interface ProxyCall {
  location: string;
  module: string;
  method: string;
  args: Json[];
  user: string;
  requestId: string;
  /** Monotonic milliseconds. */
  deadlineMs: number;
}

export interface ProxyAnswer {
  value: Json;
  servedBy: string;
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
  async exec(call: ProxyCall, signal: AbortSignal, forward = true): Promise<ProxyAnswer> {
    const { clock, nodeId, deviceLink, route } = this.#options;
    const patienceMs = Math.min(call.deadlineMs, clock.monotonicMs() + limits.changingQueueMs);
    for (;;) {
      const way = route(call.location);
      switch (way.via) {
        case 'here': {
          try {
            const value = await deviceLink.exec({ ...call, epoch: way.epoch }, signal);
            return { value, servedBy: nodeId };
          } catch (error) {
            // Not even begun, because its modules stop: it waits for the next holder like any other.
            if (!isNotBegun(error)) throw this.#explain(error, call);
            if (route(call.location).via === 'here') throw error;
            break;
          }
        }
        case 'peer': {
          if (!forward) throw this.#changing(call.location);
          const { location, module, method, args, user, requestId } = call;
          const timeoutMs = Math.max(0, call.deadlineMs - clock.monotonicMs());
          const answer = await way.request('exec', { location, module, method, args, user, requestId }, { signal, timeoutMs });
          return readAnswer(answer);
        }
        case 'wait':
          await this.#controlToSettle(call.location, patienceMs, signal);
          break;
        case 'nobody':
          throw new HoldfastError('NO_HOLDER', { location: call.location, reason: way.reason });
      }
    }
  }

  /** A write that the closing gate refused is an answer that the caller can act on. */
  #explain(error: unknown, call: ProxyCall): unknown {
    const closed = error instanceof HoldfastError && (error.code === 'GATE_CLOSED' || error.code === 'STALE_EPOCH');
    return closed ? this.#changing(call.location, error) : error;
  }

  #changing(location: string, cause?: unknown): HoldfastError {
    return new HoldfastError('CONTROL_CHANGING', { location, retryAfterMs: 1_000 }, { cause });
  }

  async #controlToSettle(location: string, untilMs: number, signal: AbortSignal): Promise<void> {
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

const isNotBegun = (error: unknown): boolean => error instanceof HoldfastError && error.code === 'MODULE_NOT_RUNNING';

function readAnswer(answer: Json): ProxyAnswer {
  if (typeof answer === 'object' && answer !== null && !Array.isArray(answer) && typeof answer['servedBy'] === 'string') {
    return { value: answer['value'] ?? null, servedBy: answer['servedBy'] };
  }
  throw new HoldfastError('LINK_PROTOCOL', { problem: 'an exec answer without servedBy' });
}
