import { Canceller, type CancelSignal } from '../../foundation/cancel.ts';
import type { Epoch } from '../../model/control.ts';
import { type HoldfastError, toHoldfastError } from '../../model/errors.ts';
import type { Json } from '../../foundation/json.ts';
import { KeyedTable } from '../../foundation/keyed-table.ts';
import type { Clock } from '../../ports/clock.ts';
import type { SystemAccess, SystemRequest } from '../../ports/device-link.ts';
import type { SystemMessage, ToHost } from './messages.ts';

export interface SystemCaller {
  location: string;
  module: string;
  /** What it works under. */
  epoch: Epoch;
  /** It wants to do something, not only to know. */
  acts: boolean;
}

export interface SystemOfCaller {
  access: SystemAccess;
  system: string;
}

interface SystemRequestsOptions {
  clock: Clock;
  systemOf(caller: SystemCaller): SystemOfCaller;
  post(message: ToHost): void;
}

type Asked = Extract<SystemMessage, { t: 'system' }>;

/**
 * What the modules of one driver host ask of their systems, under way. Modules bound how much that is; a host that does
 * not read the answers is ended for its missed heartbeats.
 */
export class SystemRequests {
  readonly #options: SystemRequestsOptions;
  /** How to end each. */
  readonly #running = new KeyedTable<number, () => void>();

  constructor(options: SystemRequestsOptions) {
    this.#options = options;
  }

  receive(message: SystemMessage): void {
    if (message.t === 'system.end') {
      this.#end(message.id);
      return;
    }
    try {
      if (message.request.kind === 'watch') this.#watch(message);
      else void this.#answer(message, message.request);
    } catch (error) {
      this.#fail(message, error);
    }
  }

  close(): void {
    for (const end of this.#running.values()) end();
    this.#running.clear();
  }

  #end(id: number): void {
    this.#running.take(id)?.();
  }

  #watch({ id, request, ...caller }: Asked): void {
    if (request.kind !== 'watch') return;
    const { access, system } = this.#options.systemOf({ ...caller, acts: false });
    const { name: module, index, key } = request;
    const change = ({ value }: { value: Json }): void => this.#options.post({ t: 'system.change', id, value });
    this.#running.set(id, access.follow({ system, module, index, key }, change));
  }

  async #answer(message: Asked, request: SystemRequest): Promise<void> {
    const { id } = message;
    const abort = new Canceller();
    this.#running.set(id, () => abort.abort());
    try {
      const value = await this.#ask(message, request, abort.signal);
      this.#options.post({ t: 'system.answer', id, value });
    } catch (error) {
      this.#fail(message, error);
    } finally {
      this.#running.take(id);
    }
  }

  async #ask(caller: Asked, request: SystemRequest, signal: CancelSignal): Promise<Json> {
    const { access, system } = this.#options.systemOf({ ...caller, acts: request.kind === 'exec' });
    switch (request.kind) {
      case 'exec': {
        const { name: module, index, method, args, user, deadlineMs } = request;
        const timeoutMs = Math.max(0, deadlineMs - this.#options.clock.monotonicMs());
        return (await access.exec({ system, module, index, method, args, user, timeoutMs }, signal)).value;
      }
      case 'status': {
        const { values } = access.status({ system, module: request.name, index: request.index });
        return Object.hasOwn(values, request.key) ? (values[request.key] ?? null) : null;
      }
      case 'count':
        return access.count(system, request.name);
    }
  }

  #fail({ id, module }: Asked, thrown: unknown): void {
    const error: HoldfastError = toHoldfastError(thrown, module);
    this.#options.post({ t: 'system.error', id, error: error.toJSON() });
  }
}
