import { Canceller, type CancelSignal } from '../foundation/cancel.ts';
import { HoldfastError } from '../model/errors.ts';
import type { Clock } from '../ports/clock.ts';

/**
 * Runs `work` under a signal that aborts when `outer` does or after `ms`, and settles then even if the work does not.
 * What the work did by then is not known.
 */
export function withDeadline<T>(
  clock: Clock,
  ms: number,
  outer: CancelSignal,
  work: (signal: CancelSignal) => Promise<T>,
): Promise<T> {
  const abort = new Canceller();
  return new Promise<T>((resolve, reject) => {
    const end = (error: HoldfastError): void => {
      reject(error);
      abort.abort(error);
    };
    const cancelled = (): void => end(new HoldfastError('CANCELLED', { fate: 'unknown' }));
    const timer = clock.after(ms, () => end(new HoldfastError('DEADLINE', { fate: 'unknown' })));
    outer.addEventListener('abort', cancelled, { once: true });
    if (outer.aborted) cancelled();
    else {
      const settled = (): void => {
        timer.cancel();
        outer.removeEventListener('abort', cancelled);
      };
      work(abort.signal).then(
        (value) => {
          settled();
          resolve(value);
        },
        (error: unknown) => {
          settled();
          reject(error);
        },
      );
    }
  });
}
