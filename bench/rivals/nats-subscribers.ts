import { connect, type NatsConnection } from 'nats';
import { endWithParent } from '../support/child.ts';
import { fanout, numberIn } from '../support/fanout-load.ts';

endWithParent();
const [port = '', count = '', publishes = ''] = process.argv.slice(2);
let publisher: NatsConnection | null = null;
await fanout(
  {
    async subscribe(wanted, arrived, lastOf) {
      for (let i = 1; i <= wanted; i += 1) {
        const connection = await connect({ servers: `127.0.0.1:${port}` });
        publisher ??= connection;
        connection.subscribe('value', {
          callback: (_, message) => {
            arrived();
            if (i === wanted) lastOf(numberIn(message.string()));
          },
        });
        await connection.flush();
      }
    },
    publish: (value) => publisher?.publish('value', JSON.stringify(value)),
  },
  Number(count),
  publishes !== '',
);
