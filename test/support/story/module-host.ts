import { formatEpoch } from '../../../src/shared/control/epoch.ts';
import type { ControlSnapshot } from '../../../src/shared/control/messages.ts';
import type { Json } from '../../../src/shared/foundation/json.ts';
import type { Epoch } from '../../../src/shared/model/control.ts';
import type { Clock, Timer } from '../../../src/shared/ports/clock.ts';

/** The modules of one location on one node: they take their time, and nothing is written to a device past the gate. */
export class ModuleHost {
  startMs = 1_000;
  stopMs = 500;
  fails = false;
  deadDevices = 0;
  readonly #clock: Clock;
  readonly #onGate: () => void;
  readonly #values = new Map<string, { module: string; key: string; value: Json }>();
  #gate: Epoch | null = null;
  #leaseUntilMs: number | null = null;
  #leaseTimer: Timer | null = null;
  #starting: Timer | null = null;
  #stopping: Timer | null = null;
  #running = false;

  constructor(clock: Clock, onGate: () => void) {
    this.#clock = clock;
    this.#onGate = onGate;
  }

  get running(): boolean {
    return this.#running;
  }

  /** The epoch under which a byte would leave for a device now; null: none leaves. */
  get writesUnder(): Epoch | null {
    const leaseOver = this.#leaseUntilMs !== null && this.#clock.monotonicMs() >= this.#leaseUntilMs;
    return leaseOver ? null : this.#gate;
  }

  start(epoch: Epoch, snapshot: ControlSnapshot | null, done: (started: boolean) => void): void {
    for (const { module, key, value } of snapshot?.status ?? []) this.set(module, key, value);
    this.openGate(epoch);
    this.#starting = this.#clock.after(this.startMs, () => {
      this.#running = !this.fails;
      done(!this.fails);
    });
  }

  /** Triggers, logic, devices; what does not stop in time is killed. A start under way is cancelled. */
  stop(deadlineMs: number, done: (snapshot: ControlSnapshot) => void): void {
    this.closeGate();
    this.#stopping = this.#clock.after(Math.min(this.stopMs, deadlineMs), () => {
      this.#running = false;
      done({ status: [...this.#values.values()], handover: {}, triggers: [] });
    });
  }

  /** Also ends a start under way: nobody will hear of it. */
  closeGate(): void {
    this.#starting?.cancel();
    this.#setGate(null);
  }

  openGate(epoch: Epoch): void {
    this.#setGate(epoch);
  }

  restamp(epoch: Epoch): void {
    if (this.#gate !== null) this.#setGate(epoch);
  }

  setLease(untilMs: number | null): void {
    this.#leaseUntilMs = untilMs;
    this.#leaseTimer?.cancel();
    if (untilMs !== null) this.#leaseTimer = this.#clock.after(untilMs - this.#clock.monotonicMs(), this.#onGate);
    this.#onGate();
  }

  set(module: string, key: string, value: Json): void {
    this.#values.set(`${module}.${key}`, { module, key, value });
  }

  /** What an attempt to write to a device gives right now. */
  tryWrite(): string {
    if (this.#gate === null) return 'refused: the write gate is closed';
    return this.writesUnder === null ? 'refused: the lease is over' : `written under ${formatEpoch(this.#gate)}`;
  }

  /** The process is gone, and its sockets with it. */
  kill(): void {
    this.#starting?.cancel();
    this.#stopping?.cancel();
    this.#leaseTimer?.cancel();
    this.#running = false;
    this.#values.clear();
    this.#leaseUntilMs = null;
    this.#setGate(null);
  }

  #setGate(epoch: Epoch | null): void {
    this.#gate = epoch;
    this.#onGate();
  }
}
