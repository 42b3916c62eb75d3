import { endWithParent } from '../support/child.ts';
import { fanout, numberIn } from '../support/fanout-load.ts';
import { SocketCaller } from '../support/socket-caller.ts';

endWithParent();
const [url = '', apiKey = '', count = '', publishes = ''] = process.argv.slice(2);
const variable = { sys: 'sys-berlin', mod: 'Display', index: 1 };
const publisher = publishes === '' ? null : await SocketCaller.open(url, apiKey);
await fanout(
  {
    async subscribe(wanted, arrived, lastOf) {
      for (let i = 1; i <= wanted; i += 1) {
        const notified = (text: string): void => {
          arrived();
          if (i === wanted) lastOf(numberIn(text));
        };
        const caller = await SocketCaller.open(url, apiKey, notified);
        await caller.ask({ cmd: 'bind', ...variable, name: 'value' });
      }
    },
    publish: (value) => void publisher?.ask({ cmd: 'exec', ...variable, name: 'publish', args: [value] }),
  },
  Number(count),
  publishes !== '',
);
