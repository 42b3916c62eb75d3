export interface Timer {
  cancel(): void;
}

/** A timer that is set again and again, with nothing new for each time. */
export interface Alarm extends Timer {
  /** Calls back once, not before `delayMs` have passed. What it was set to before is forgotten. */
  set(delayMs: number): void;
}

export interface Clock {
  /** Milliseconds that never jump; the zero is arbitrary, but the same for every process of one machine since its boot. */
  monotonicMs(): number;
  /** Unix milliseconds. Restore windows and display only: never part of who controls. */
  wallMs(): number;
  /** Calls back once, not before `delayMs` have passed. */
  after(delayMs: number, callback: () => void): Timer;
  /** It rings when it is set, not before. */
  alarm(callback: () => void): Alarm;
  /** Resolves after `delayMs`, rejects with the signal's reason when it aborts first. */
  sleep(delayMs: number, signal: AbortSignal): Promise<void>;
}
