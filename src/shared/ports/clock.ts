export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds that never jump; the zero is arbitrary, but the same for every process of one machine since its boot. */
  monotonicMs(): number;
  /** Unix milliseconds. Restore windows and display only: never part of who controls. */
  wallMs(): number;
  /** Calls back once, not before `delayMs` have passed. */
  after(delayMs: number, callback: () => void): Timer;
  /** Resolves after `delayMs`, rejects with the signal's reason when it aborts first. */
  sleep(delayMs: number, signal: AbortSignal): Promise<void>;
}
