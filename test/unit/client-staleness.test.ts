import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestServer, type TestServer } from '../support/api-server.ts';
import { type SocketClient, socketClientsOf } from '../support/socket-client.ts';

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.close());
const open = socketClientsOf(() => server);
const meta = { sys: 'sys-1', mod: 'Display', index: 1, name: 'power' };

describe('values that stand still because nobody who drives their devices is heard', () => {
  const stillness = (client: SocketClient) => client.frames.filter((frame) => Object(frame).type === 'staleness');
  const told = (stale: boolean, ageMs: number) => ({ type: 'staleness', location: 'edge-1', stale, age_ms: ageMs });
  beforeEach(() => {
    server.node.located.set('mod-1', 'edge-1');
  });

  it('are told of to whom they concern, once, and so is their end', async () => {
    const [client, other] = [await open(), await open()];
    await client.ask({ id: 1, cmd: 'bind', ...meta });
    await client.ask({ id: 2, cmd: 'bind', ...meta, name: 'volume' });
    server.node.setAge('edge-1', 3_210.4);
    await client.alive();
    expect(stillness(client)).toEqual([told(true, 3_210)]);
    server.node.setAge('edge-1', null);
    await client.alive();
    await other.alive();
    expect(stillness(client)).toEqual([told(true, 3_210), told(false, 0)]);
    expect(stillness(other)).toEqual([]);
  });

  it('are told of to whom is bound meanwhile, and no more when the last binding ends', async () => {
    server.node.setAge('edge-1', 5_000);
    const client = await open();
    await client.ask({ id: 1, cmd: 'bind', ...meta });
    await client.ask({ id: 2, cmd: 'bind', ...meta, name: 'volume' });
    await client.ask({ id: 3, cmd: 'unbind', ...meta });
    await client.alive();
    expect(stillness(client)).toEqual([told(true, 5_000)]);
    // Before it could pass for fresh.
    expect(client.frames.findIndex((frame) => Object(frame).type === 'staleness')).toBeLessThan(client.frames.findIndex((frame) => Object(frame).id === 1));
    await client.ask({ id: 4, cmd: 'unbind', ...meta, name: 'volume' });
    await client.alive();
    expect(stillness(client)).toEqual([told(true, 5_000), told(false, 0)]);
  });

  it('go with a module that moves to another location, without a moment in which they pass for fresh', async () => {
    server.node.setAge('edge-1', 5_000);
    server.node.setAge('edge-2', 700);
    const client = await open();
    await client.ask({ id: 1, cmd: 'bind', ...meta });
    server.node.relocate('mod-1', 'edge-2');
    server.node.relocate('mod-1', 'edge-3');
    server.node.relocate('mod-1', 'edge-1');
    await client.alive();
    const at2 = (stale: boolean, ageMs: number) => ({ ...told(stale, ageMs), location: 'edge-2' });
    expect(stillness(client)).toEqual([told(true, 5_000), at2(true, 700), told(false, 0), at2(false, 0), told(true, 5_000)]);
    // It counts where it is now.
    server.node.setAge('edge-2', null);
    server.node.setAge('edge-1', null);
    await client.alive();
    expect(stillness(client).slice(5)).toEqual([told(false, 0)]);
  });

  it('of one location end for a client when the last of its modules there has moved away', async () => {
    server.node.named.set('sys-1/Display_2', 'mod-2');
    server.node.located.set('mod-2', 'edge-1');
    server.node.setAge('edge-1', 5_000);
    const client = await open();
    await client.ask({ id: 1, cmd: 'bind', ...meta });
    await client.ask({ id: 2, cmd: 'bind', ...meta, index: 2 });
    await client.alive();
    server.node.relocate('mod-1', 'edge-2');
    await client.alive();
    expect(stillness(client)).toEqual([told(true, 5_000)]);
    server.node.relocate('mod-2', 'edge-2');
    server.node.setAge('edge-1', 6_000);
    await client.alive();
    expect(stillness(client)).toEqual([told(true, 5_000), told(false, 0)]);
  });
});
