import { performance } from 'node:perf_hooks';
import { endWithParent, tell } from '../support/child.ts';
import { execCommand } from '../support/payload.ts';
import { SocketCaller } from '../support/socket-caller.ts';
import { quantile } from '../support/statistics.ts';

/** Until V8 has compiled what runs: several at a time, on sockets of their own. */
const WARM_UP = { sockets: 16, commands: 10_000 };

/** One command every few milliseconds, whether or not the one before is answered: what a person at a panel would wait. */
endWithParent();
const [url = '', apiKey = '', module = '', everyMs = '', uncounted = '', counted = ''] = process.argv.slice(2);
const command = { ...execCommand, mod: module };
const sockets = await Promise.all(Array.from({ length: WARM_UP.sockets }, () => SocketCaller.open(url, apiKey)));
const warmUp = async (socket: SocketCaller): Promise<void> => {
  for (let i = 0; i < WARM_UP.commands / WARM_UP.sockets; i += 1) await socket.ask(command);
};
await Promise.all(sockets.map(warmUp));
const caller = await SocketCaller.open(url, apiKey);
const times: number[] = [];
const answers: Promise<void>[] = [];
for (let i = -Number(uncounted); i < Number(counted); i += 1) {
  if (i === 0) tell({ measuring: true });
  const began = performance.now();
  const answered = (): void => {
    if (i >= 0) times.push(performance.now() - began);
  };
  answers.push(caller.ask(command).then(answered));
  await new Promise((done) => setTimeout(done, Number(everyMs)));
}
await Promise.all(answers);
tell({ p50Ms: quantile(times, 0.5), p99Ms: quantile(times, 0.99) });
