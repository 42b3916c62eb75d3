/** An `Alarm` for a clock that makes a timer for each time. */
export function createAlarm(
  after: (delayMs: number, callback: () => void) => { cancel(): void },
  callback: () => void,
): { set(delayMs: number): void; cancel(): void } {
  let timer: { cancel(): void } | null = null;
  return {
    set(delayMs) {
      timer?.cancel();
      timer = after(delayMs, callback);
    },
    cancel() {
      timer?.cancel();
      timer = null;
    },
  };
}
