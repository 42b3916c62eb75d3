import { createAlarm } from '../shared/foundation/alarm.ts';
import type { Alarm, Clock, Timer } from '../shared/ports/clock.ts';
import type { Timeline } from './timeline.ts';

/** One run of the program on a machine. Once it is dead nothing that it asked for reaches it any more. */
export interface Incarnation {
  readonly number: number;
  alive: boolean;
}

/**
 * A computer: its clocks, and the process that runs on it now. A paused process finds everything that happened
 * meanwhile when it goes on, in order; what a dead one was waiting for never comes.
 */
export class Machine {
  readonly name: string;
  readonly #timeline: Timeline;
  readonly #drift: number;
  #wallOffsetMs: number;
  #wallJumped = false;
  #process: Incarnation | null = null;
  #incarnations = 0;
  #paused = false;
  #pausedFromMs = 0;
  #pausedMs = 0;
  #held: (() => void)[] = [];

  constructor(name: string, timeline: Timeline, options: { drift: number; wallMs: number }) {
    this.name = name;
    this.#timeline = timeline;
    this.#drift = options.drift;
    this.#wallOffsetMs = options.wallMs;
  }

  get process(): Incarnation | null {
    return this.#process;
  }

  get incarnations(): number {
    return this.#incarnations;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Also while the process is paused: what the host of the drivers sees. */
  monotonicMs(): number {
    return this.#timeline.nowMs * (1 + this.#drift);
  }

  wallMs(): number {
    return this.#wallOffsetMs + this.monotonicMs();
  }

  /** Somebody set the wall clock. */
  get wallJumped(): boolean {
    return this.#wallJumped;
  }

  jumpWall(ms: number): void {
    this.#wallJumped = true;
    this.#wallOffsetMs += ms;
  }

  boot(): Incarnation {
    this.#incarnations += 1;
    this.#process = { number: this.#incarnations, alive: true };
    return this.#process;
  }

  /** The process is gone. */
  kill(): void {
    if (this.#process !== null) this.#process.alive = false;
    this.#process = null;
    this.#paused = false;
    this.#held = [];
  }

  /** Total time in which the process stood still. */
  get pausedMs(): number {
    return this.#pausedMs + (this.#paused ? this.monotonicMs() - this.#pausedFromMs : 0);
  }

  pause(): void {
    if (this.#process === null || this.#paused) return;
    this.#paused = true;
    this.#pausedFromMs = this.monotonicMs();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#pausedMs = this.pausedMs;
    this.#paused = false;
    const held = this.#held;
    this.#held = [];
    // One event each: what the first sets off settles before the second.
    for (const run of held) this.#timeline.after(0, run);
  }

  /** Hands something to a process: now, or when it goes on, or never. */
  deliver(process: Incarnation, run: () => void): void {
    if (!process.alive) return;
    if (this.#paused) this.#held.push(() => this.deliver(process, run));
    else run();
  }

  /** On this machine, whatever its process does. */
  after(delayMs: number, run: () => void): Timer {
    return this.#timeline.after(Math.max(0, delayMs) / (1 + this.#drift), run);
  }

  /** The clock of one process. */
  clockOf(process: Incarnation): Clock {
    return new ProcessClock(this, process);
  }

  /** For a disk, which outlives the process but answers only to one that runs. */
  diskClock(): Clock {
    const after = (delayMs: number, run: () => void): Timer => {
      return this.after(delayMs, () => {
        if (this.#process === null) return;
        this.deliver(this.#process, run);
      });
    };
    return {
      monotonicMs: () => this.monotonicMs(),
      wallMs: () => this.wallMs(),
      after,
      alarm: (callback) => createAlarm({ after }, callback),
      sleep: () => Promise.reject(new Error('a disk does not sleep')),
    };
  }
}

class ProcessClock implements Clock {
  readonly #machine: Machine;
  readonly #process: Incarnation;

  constructor(machine: Machine, process: Incarnation) {
    this.#machine = machine;
    this.#process = process;
  }

  monotonicMs(): number {
    return this.#machine.monotonicMs();
  }

  wallMs(): number {
    return this.#machine.wallMs();
  }

  after(delayMs: number, callback: () => void): Timer {
    let cancelled = false;
    const timer = this.#machine.after(delayMs, () => {
      this.#machine.deliver(this.#process, () => {
        // Cancelled by what ran between the end of a pause and this timer.
        if (!cancelled) callback();
      });
    });
    return {
      cancel: () => {
        cancelled = true;
        timer.cancel();
      },
    };
  }

  alarm(callback: () => void): Alarm {
    return createAlarm(this, callback);
  }

  sleep(delayMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      const aborted = (): void => {
        timer.cancel();
        reject(signal.reason as Error);
      };
      const timer = this.after(delayMs, () => {
        signal.removeEventListener('abort', aborted);
        resolve();
      });
      signal.addEventListener('abort', aborted, { once: true });
    });
  }
}
