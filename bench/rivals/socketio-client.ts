import { io } from 'socket.io-client';
import { endWithParent, tell } from '../support/child.ts';
import { measure } from '../support/load.ts';
import { execCommand } from '../support/payload.ts';

endWithParent();
const [port = '', callers = '1'] = process.argv.slice(2);
const sockets = await Promise.all(
  Array.from({ length: Number(callers) }, async () => {
    const socket = io(`https://127.0.0.1:${port}`, { transports: ['websocket'], rejectUnauthorized: false, multiplex: false });
    await new Promise<void>((resolve) => socket.once('connect', resolve));
    return socket;
  }),
);
tell(await measure(sockets.length, (index) => async () => void (await sockets[index]?.emitWithAck('exec', execCommand))));
