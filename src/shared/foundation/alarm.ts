interface Cancellable {
  cancel(): void;
}

/** An `Alarm` for a clock that makes a timer for each time. */
export function createAlarm(
  clock: { after(delayMs: number, callback: () => void): Cancellable },
  callback: () => void,
): Cancellable & { set(delayMs: number): void } {
  let timer: Cancellable | null = null;
  return {
    set(delayMs) {
      timer?.cancel();
      timer = clock.after(delayMs, callback);
    },
    cancel() {
      timer?.cancel();
      timer = null;
    },
  };
}
