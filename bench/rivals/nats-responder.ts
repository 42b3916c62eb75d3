import { connect, JSONCodec } from 'nats';
import { endWithParent, tell } from '../support/child.ts';

endWithParent();
const [port = ''] = process.argv.slice(2);
const codec = JSONCodec();
const connection = await connect({ servers: `127.0.0.1:${port}`, tls: { rejectUnauthorized: false } as object });
connection.subscribe('exec', { callback: (_, message) => void message.respond(codec.encode(codec.decode(message.data))) });
await connection.flush();
tell({ ready: true });
