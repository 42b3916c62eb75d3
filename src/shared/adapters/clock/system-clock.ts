import type { Clock, Timer } from '../../ports/clock.ts';

/** Longer timers overflow in Node and would fire at once: those are waited for in parts. */
const LONGEST_MS = 2_147_483_647;

/** CLOCK_MONOTONIC, which all processes of one machine share: a lease deadline means the same in a driver host. */
export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

export function createSystemClock(): Clock {
  const after = (delayMs: number, callback: () => void): Timer => {
    const dueMs = monotonicMs() + delayMs;
    const wait = (): NodeJS.Timeout => setTimeout(fire, Math.min(LONGEST_MS, Math.max(0, Math.ceil(dueMs - monotonicMs()))));
    // Node's own clock has whole milliseconds, so that a timer may come early by a part of one.
    const fire = (): void => {
      if (monotonicMs() < dueMs) timer = wait();
      else callback();
    };
    let timer = wait();
    return { cancel: () => clearTimeout(timer) };
  };
  return {
    monotonicMs,
    wallMs: () => Date.now(),
    after,
    sleep(delayMs, signal) {
      return new Promise((resolve, reject) => {
        if (signal.aborted) {
          reject(signal.reason as Error);
          return;
        }
        const timer = after(delayMs, () => {
          signal.removeEventListener('abort', aborted);
          resolve();
        });
        const aborted = (): void => {
          timer.cancel();
          reject(signal.reason as Error);
        };
        signal.addEventListener('abort', aborted, { once: true });
      });
    },
  };
}
