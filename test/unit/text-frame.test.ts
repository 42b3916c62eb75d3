import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { textFrame } from '../../src/shared/foundation/text-frame.ts';

/** Both ends of a connection of a library that none of us wrote, and the streams below them. */
let server: WebSocketServer;
let ends: Record<'client' | 'server', { socket: WebSocket; stream: Socket }>;

beforeAll(async () => {
  server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const connected = new Promise<{ socket: WebSocket; stream: Socket }>((resolve) => {
    server.once('connection', (socket, request) => resolve({ socket, stream: request.socket }));
  });
  const stream = connect(port, '127.0.0.1');
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, { createConnection: () => stream });
  await once(socket, 'open');
  ends = { client: { socket, stream }, server: await connected };
});

afterAll(() => {
  ends.client.socket.terminate();
  server.close();
});

async function arrives(from: 'client' | 'server', text: string, mask: Uint8Array | null): Promise<string> {
  const { socket } = ends[from === 'client' ? 'server' : 'client'];
  const message = once(socket, 'message');
  ends[from].stream.write(textFrame(text, mask));
  const [data] = (await message) as [Buffer];
  return data.toString();
}

describe('a text message as one frame', () => {
  const texts = ['', 'ü', 'x'.repeat(125), 'x'.repeat(126), 'é'.repeat(32_767), 'x'.repeat(65_535), 'x'.repeat(65_536)];

  it('of a server is read by a client, whatever its length', async () => {
    for (const text of texts) expect(await arrives('server', text, null)).toBe(text);
  });

  it('of a client is masked, and read by a server', async () => {
    for (const text of texts) expect(await arrives('client', text, Uint8Array.of(1, 0x80, 0xff, 7))).toBe(text);
    expect(Buffer.from(textFrame('secret', Uint8Array.of(1, 2, 3, 4))).includes('secret')).toBe(false);
  });
});
