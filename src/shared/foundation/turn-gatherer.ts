/**
 * Lets what is sent in one event-loop turn leave together. Where the last turn had one thing to send only, the first of
 * this one does not wait for others that will hardly come.
 *
 * `endOfTurn`: calls back when everything else of this turn is done (`setImmediate`).
 */
export class TurnGatherer {
  readonly #leave: () => void;
  readonly #endOfTurn: (callback: () => void) => void;
  /** Of this turn. */
  #sent = 0;
  #wasAlone = true;

  constructor(leave: () => void, endOfTurn: (callback: () => void) => void) {
    this.#leave = leave;
    this.#endOfTurn = endOfTurn;
  }

  /** There is one thing more to send. */
  sent(): void {
    this.#sent += 1;
    if (this.#sent > 1) return;
    this.#endOfTurn(() => {
      this.#wasAlone = this.#sent === 1;
      this.#sent = 0;
      this.#leave();
    });
    if (this.#wasAlone) this.#leave();
  }
}
