import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, it, onTestFinished } from 'vitest';
import { createSystemRandom } from '../../src/shared/adapters/random/system-random.ts';
import { openServerIdentity } from '../../src/shared/adapters/tls/certificates.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { startTestServer, until, type TestServer } from '../support/api-server.ts';
import { tempFolders } from '../support/temp-folder.ts';

/** Requests that no honest client sends. */

const folder = tempFolders();
let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.close());

function raw(origin: string, text: string): { socket: Socket; text: string; ended: boolean } {
  const socket = connect(Number(new URL(origin).port), '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  const heard = { socket, text: '', ended: false };
  socket.on('data', (data) => (heard.text += data.toString()));
  socket.on('close', () => (heard.ended = true));
  socket.on('error', () => undefined);
  socket.write(text);
  return heard;
}
const head = (line: string, ...headers: string[]): string => `${[`${line} HTTP/1.1`, 'host: x', ...headers].join('\r\n')}\r\n\r\n`;
const statuses = (text: string): string[] => [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status ?? '');

it.each(['content-length', 'transfer-encoding'])('a body where none belongs does not hold up what follows: %s', async (form) => {
  const body = 'x'.repeat(200_000);
  const [header, sent] = form === 'content-length' ? [`content-length: ${body.length}`, body] : ['transfer-encoding: chunked', `30d40\r\n${body}\r\n0\r\n\r\n`];
  const key = `x-api-key: ${server.keys.viewer}`;
  const client = raw(server.http.origin, head('GET /api/engine/v2/version', key, header) + sent + head('GET /api/engine/v2/version', key));
  await until(() => statuses(client.text).length === 2, 'both are answered');
  expect(statuses(client.text)).toEqual(['200', '200']);
});

it.each([
  'GET /api/engine/v2/edges/%00', 'GET /api/engine/v2/edges/%2e%2e', 'GET /api/engine/v2/edges/..%2fversion', 'GET //api/engine/v2/version',
  'GET /api/engine/v2/edges/%c0%ae', 'GET /api/engine/v2/../../metrics', 'GET /api/engine/v2/edges/__proto__', 'GET /api/engine/v2/metadata/sys-1?name=__proto__',
  'GET /api/engine/v2/modules?limit=1&limit=2', 'GET /api/engine/v2/modules?__proto__[limit]=1&limit=x', 'GET /api/engine/v2/modules?MANY&limit=x',
])('%s is refused as what the client did wrong', async (line) => {
  const client = raw(server.http.origin, head(line.replace('MANY', 'a&'.repeat(5_000)), `x-api-key: ${server.keys.admin}`));
  await until(() => client.text !== '', 'it is answered');
  expect(['404', '422', '400']).toContain(statuses(client.text)[0]);
});

it('a proxy request is never sent on to where its address says', async () => {
  server.node.members = () => [{ location: 'edge-1', edge: 'https://edge.example.org', master: null }];
  const line = 'POST http://.attacker.example/api/engine/v2/edges/edge-1/pause';
  const client = raw(server.http.origin, head(line, `x-api-key: ${server.keys.admin}`, 'prefer: redirect', 'content-length: 0'));
  await until(() => client.text !== '', 'it is answered');
  expect(client.text).not.toMatch(/attacker/);
});

it('a TLS handshake that does not go on is ended', async () => {
  const random = createSystemRandom();
  const identity = await openServerIdentity({ folder: folder(), hosts: ['127.0.0.1'], random, wallMs: Date.now() });
  const timeouts = { headersTimeout: 200, requestTimeout: 300, connectionsCheckingInterval: 50 };
  const secure = await startTestServer({ tls: { cert: identity.chain, key: identity.key }, timeouts });
  onTestFinished(() => secure.close());
  // The beginning of a record, of which nothing more comes.
  const client = raw(secure.http.origin, '\x16\x03\x01');
  // It is told, and cut off when it does not leave.
  await until(() => (void secure.clock.advance(limits.clientSocketCloseMs), client.ended), 'it is over');
});
