import { io, type Socket } from 'socket.io-client';
import { endWithParent } from '../support/child.ts';
import { fanout } from '../support/fanout-load.ts';

endWithParent();
const [port = '', count = '', publishes = ''] = process.argv.slice(2);
const open = async (): Promise<Socket> => {
  const socket = io(`http://127.0.0.1:${port}`, { transports: ['websocket'], multiplex: false });
  await new Promise<void>((resolve) => socket.once('connect', resolve));
  return socket;
};
let publisher: Socket | null = null;
await fanout(
  {
    async subscribe(wanted, arrived, lastOf) {
      for (let i = 1; i <= wanted; i += 1) {
        const socket = await open();
        publisher ??= socket;
        socket.on('value', ({ n }: { n: number }) => {
          arrived();
          if (i === wanted) lastOf(n);
        });
      }
    },
    publish: (value) => publisher?.emit('publish', value),
  },
  Number(count),
  publishes !== '',
);
