import { once } from 'node:events';
import { WebSocket } from 'ws';
import { endWithParent, tell } from '../support/child.ts';
import { measure } from '../support/load.ts';
import { command } from '../support/payload.ts';

endWithParent();
const [port = '', callers = '1'] = process.argv.slice(2);
const socket = new WebSocket(`wss://127.0.0.1:${port}`, { rejectUnauthorized: false, perMessageDeflate: false });
const pending = new Map<number, (value: unknown) => void>();
let lastId = 0;
socket.on('message', (data) => {
  const { id, value } = JSON.parse(String(data)) as { id: number; value: unknown };
  pending.get(id)?.(value);
  pending.delete(id);
});
await once(socket, 'open');
const call = (): Promise<unknown> =>
  new Promise((resolve) => {
    lastId += 1;
    pending.set(lastId, resolve);
    socket.send(JSON.stringify({ id: lastId, body: command }));
  });
tell(await measure(Number(callers), () => call));
