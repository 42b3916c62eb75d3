import { connectAsync, type MqttClient } from 'mqtt';
import { endWithParent } from '../support/child.ts';
import { fanout, numberIn } from '../support/fanout-load.ts';

endWithParent();
const [port = '', count = '', publishes = ''] = process.argv.slice(2);
let publisher: MqttClient | null = null;
await fanout(
  {
    async subscribe(wanted, arrived, lastOf) {
      for (let i = 1; i <= wanted; i += 1) {
        const client = await connectAsync(`mqtt://127.0.0.1:${port}`);
        publisher ??= client;
        client.on('message', (_, message) => {
          arrived();
          if (i === wanted) lastOf(numberIn(message.toString()));
        });
        await client.subscribeAsync('value');
      }
    },
    publish: (value) => publisher?.publish('value', JSON.stringify(value)),
  },
  Number(count),
  publishes !== '',
);
