import type { CancelSignal } from '../../foundation/cancel.ts';
import type { Json } from '../../foundation/json.ts';
import { fromWire, HoldfastError } from '../../model/errors.ts';
import type { Answer } from './messages.ts';

/** What a driver host was asked and has not answered. */
export interface Pending {
  /** Monotonic milliseconds; `Infinity`: as long as the process lives. */
  readonly dueMs: number;
  /** Whose code runs for it: location and module, with a slash between; null: that of no module alone. */
  readonly of: string | null;
  answer(message: Answer): void;
  /** Nobody waits any more. */
  giveUp(code: 'CANCELLED' | 'DEADLINE'): void;
  /** The process is gone. */
  lost(fate: 'not-sent' | 'unknown'): void;
}

interface PendingCallOptions {
  location: string;
  module: string;
  dueMs: number;
  signal: CancelSignal;
  /** `signal` aborted before there was an answer. */
  aborted(): void;
  resolve(value: Json): void;
  reject(error: HoldfastError): void;
}

/** As driver hosts name a module of a location. */
export const keyOf = ({ location, module }: { location: string; module: string }): string => `${location}/${module}`;

/** A call of a method in a driver host. Settled once. */
export class PendingCall implements Pending {
  readonly #options: PendingCallOptions;

  constructor(options: PendingCallOptions) {
    this.#options = options;
    options.signal.addEventListener('abort', options.aborted, { once: true });
  }

  get dueMs(): number {
    return this.#options.dueMs;
  }

  get of(): string {
    return keyOf(this.#options);
  }

  answer(message: Answer): void {
    if (message.t === 'error') return this.#fail(fromWire(message.error));
    if (message.t !== 'answer') return this.#fail(new HoldfastError('LINK_PROTOCOL', { problem: `a call was answered by ${message.t}` }));
    this.#release();
    this.#options.resolve(message.value);
  }

  giveUp(code: 'CANCELLED' | 'DEADLINE'): void {
    this.#fail(new HoldfastError(code, { fate: 'unknown' }));
  }

  lost(fate: 'not-sent' | 'unknown'): void {
    this.#fail(new HoldfastError('DRIVER_HOST_LOST', { module: this.#options.module, fate }));
  }

  #fail(error: HoldfastError): void {
    this.#release();
    this.#options.reject(error);
  }

  #release(): void {
    const { signal, aborted } = this.#options;
    signal.removeEventListener('abort', aborted);
  }
}
