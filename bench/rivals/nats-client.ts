import { connect, JSONCodec } from 'nats';
import { endWithParent, tell } from '../support/child.ts';
import { measure } from '../support/load.ts';
import { execCommand } from '../support/payload.ts';

endWithParent();
const [port = '', callers = '1'] = process.argv.slice(2);
const codec = JSONCodec();
const open = () => connect({ servers: `127.0.0.1:${port}`, tls: { rejectUnauthorized: false } as object });
const connections = await Promise.all(Array.from({ length: Number(callers) }, open));
const call = (index: number) => async (): Promise<void> => {
  const answer = await connections[index]?.request('exec', codec.encode(execCommand), { timeout: 10_000 });
  if (answer !== undefined) codec.decode(answer.data);
};
tell(await measure(connections.length, call));
