import { ServiceBroker } from 'moleculer';
import { endWithParent, tell } from '../support/child.ts';
import { measure } from '../support/load.ts';
import { execCommand } from '../support/payload.ts';

/** With `callers` the side that asks, without the one that answers. Over a NATS server: its own TCP transport listens on every address of the machine. */
endWithParent();
const [port = '', callers = ''] = process.argv.slice(2);
const broker = new ServiceBroker({ nodeID: callers === '' ? 'responder' : 'client', logger: false, transporter: { type: 'NATS', options: { url: `nats://127.0.0.1:${port}` } } });
if (callers === '') broker.createService({ name: 'device', actions: { exec: (context: { params: unknown }) => context.params } });
await broker.start();
if (callers === '') tell({ ready: true });
else {
  await broker.waitForServices('device');
  tell(await measure(Number(callers), () => () => broker.call('device.exec', execCommand)));
}
