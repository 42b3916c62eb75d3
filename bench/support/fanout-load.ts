import { performance } from 'node:perf_hooks';
import { hear, tell } from './child.ts';
import { statusValue } from './payload.ts';

/** How many values may be on their way: enough to keep the server busy, too few to fill its buffers. */
const WINDOW = 4;
const WARM_UP_MS = 1_500;
const MEASURE_MS = 3_000;

export interface Subscribers {
  /** Counts what arrives; `lastOf` is told of the number of a value at the one who joined last. */
  subscribe(count: number, arrived: () => void, lastOf: (n: number) => void): Promise<void>;
  publish(value: object): void;
}

/** Half of the subscribers, in a process of its own. The one that publishes goes on when its last subscriber has the values before. */
export async function fanout({ subscribe, publish }: Subscribers, count: number, publishes: boolean): Promise<void> {
  let arrivals = 0;
  let sent = 0;
  const sendUpTo = (n: number): void => {
    while (sent < n) publish(statusValue((sent += 1)));
  };
  await subscribe(count, () => (arrivals += 1), (n) => publishes && sendUpTo(n + WINDOW));
  tell({ joined: true });
  await hear();
  if (publishes) sendUpTo(WINDOW);
  await new Promise((done) => setTimeout(done, WARM_UP_MS));
  const [from, before] = [performance.now(), arrivals];
  tell({ measuring: true });
  await new Promise((done) => setTimeout(done, MEASURE_MS));
  tell({ perSecond: ((arrivals - before) * 1_000) / (performance.now() - from) });
}

/** The number in a value, without reading all of it. */
export const numberIn = (text: string): number => Number(/"n":(\d+)/.exec(text)?.[1] ?? 0);
