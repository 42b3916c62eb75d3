import { endWithParent, tell } from '../support/child.ts';
import { measure } from '../support/load.ts';
import { execCommand } from '../support/payload.ts';
import { SocketCaller } from '../support/socket-caller.ts';

/** So many callers on 64 WebSockets, each with one command under way: a server holds each client to a number of commands a second. */
endWithParent();
const [url = '', apiKey = '', callers = '1'] = process.argv.slice(2);
const sockets = await Promise.all(Array.from({ length: 64 }, () => SocketCaller.open(url, apiKey)));
const rounds = Math.floor(sockets.length / Number(callers));
const newCaller = (index: number): (() => Promise<void>) => {
  const mine = sockets.slice(index * rounds, (index + 1) * rounds);
  let turn = 0;
  return async () => {
    turn = (turn + 1) % mine.length;
    await mine[turn]?.ask(execCommand);
  };
};
tell(await measure(Number(callers), newCaller));
