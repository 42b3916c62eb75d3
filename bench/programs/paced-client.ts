import { performance } from 'node:perf_hooks';
import { endWithParent, tell } from '../support/child.ts';
import { execCommand } from '../support/payload.ts';
import { SocketCaller } from '../support/socket-caller.ts';
import { quantile } from '../support/statistics.ts';

/** One command every few milliseconds, whether or not the one before is answered: what a person at a panel would wait. */
endWithParent();
const [url = '', apiKey = '', module = '', everyMs = '', warmUp = '', count = ''] = process.argv.slice(2);
const caller = await SocketCaller.open(url, apiKey);
const times: number[] = [];
const answers: Promise<void>[] = [];
for (let i = -Number(warmUp); i < Number(count); i += 1) {
  const began = performance.now();
  const answered = (): void => {
    if (i >= 0) times.push(performance.now() - began);
  };
  answers.push(caller.ask({ ...execCommand, mod: module }).then(answered));
  await new Promise((done) => setTimeout(done, Number(everyMs)));
}
await Promise.all(answers);
tell({ p50Ms: quantile(times, 0.5), p99Ms: quantile(times, 0.99) });
