import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { OpenResponses } from '../../src/shared/adapters/http/open-responses.ts';

const LARGE = 8 * 1024 * 1024;
const server = createServer();
const open = new OpenResponses(server, 2.5 * LARGE);
server.on('request', ({ url }: IncomingMessage, response: ServerResponse) => {
  const text = 'x'.repeat(Number(url?.slice(1)) * LARGE);
  open.written(response, text.length);
  response.end(text);
});
const sockets: Socket[] = [];
const port = async (): Promise<number> => {
  if (!server.listening) await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
};
/** Asks for an answer of so many times 8 MiB, and reads nothing of it yet. */
async function deaf(size: number): Promise<Socket> {
  const socket = connect(await port(), '127.0.0.1').pause();
  sockets.push(socket);
  const asked = once(server, 'request');
  socket.on('error', () => undefined).write(`GET /${size} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n`);
  await asked;
  return socket;
}
/** How much of it comes until its connection is closed. */
async function rest(socket: Socket): Promise<number> {
  let length = 0;
  socket.on('data', (data) => (length += data.length)).resume();
  await once(socket, 'close');
  return length;
}
async function read(size: number): Promise<number> {
  const [response] = (await once(get({ host: '127.0.0.1', port: await port(), path: `/${size}` }), 'response')) as [IncomingMessage];
  let length = 0;
  for await (const chunk of response) length += String(chunk).length;
  return length;
}
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

it('when too much waits to be read, the connection goes where most of it waits, and its share is free again', async () => {
  const [less, most] = [await deaf(0.5), await deaf(1.5)];
  expect(await read(1)).toBe(LARGE);
  expect(await rest(most)).toBeLessThan(1.5 * LARGE);
  // What the others wait for is still below what is allowed.
  expect(await read(1.5)).toBe(1.5 * LARGE);
  expect(await rest(less)).toBeGreaterThan(0.5 * LARGE);
  expect(open.size).toBe(0);
});
