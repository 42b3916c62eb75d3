import { limits } from '../shared/model/limits.ts';

/**
 * Attempts of commands without an answer. A device counts as gone after a few in a row; where a connection stands, of more than
 * one command: a device that lives may ignore one that it does not know.
 */
export class Silence {
  readonly #leastCommands: 1 | 2;
  #attempts = 0;
  #commands = 0;

  constructor(leastCommands: 1 | 2) {
    this.#leastCommands = leastCommands;
  }

  /** `isFirst`: the first attempt of its command. */
  unanswered(isFirst: boolean): void {
    this.#attempts += 1;
    if (isFirst) this.#commands += 1;
  }

  /** Something came from the device, or a new line is told of. */
  end(): void {
    this.#attempts = 0;
    this.#commands = 0;
  }

  get isGone(): boolean {
    return this.#attempts >= limits.deviceUnanswered && this.#commands >= this.#leastCommands;
  }
}
