import { HoldfastError } from '../client-sdk/index.ts';
import type { StreamEvent } from '../client-sdk/index.ts';
import type { Session } from './session.ts';

const RETRY_MS = 2_000;

/**
 * Reads a stream until the user interrupts, and opens it again when it ends. The first attempt must succeed, so that a
 * wrong address or key is told at once. `opened` runs after each opening: what happened in between was missed.
 */
export async function follow<T>(
  session: Session,
  open: (signal: AbortSignal) => Promise<AsyncIterable<StreamEvent<T>>>,
  listener: { opened(): void; event(event: StreamEvent<T>): void },
): Promise<void> {
  const { signal, clock } = session.deps;
  let everOpened = false;
  while (!signal.aborted) {
    try {
      const stream = await open(signal);
      everOpened = true;
      listener.opened();
      for await (const event of stream) listener.event(event);
      if (!signal.aborted) session.note('the server has closed the stream; trying again');
    } catch (error) {
      if (signal.aborted) return;
      const final = error instanceof HoldfastError && error.status < 500 && error.status !== 429;
      if (!everOpened || final) throw error;
      session.note(`${error instanceof Error ? error.message : String(error)}; trying again`);
    }
    await clock.sleep(RETRY_MS, signal).catch(() => undefined);
  }
}
