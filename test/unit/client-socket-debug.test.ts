import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/shared/model/limits.ts';
import { startTestServer, type TestServer } from '../support/api-server.ts';
import { socketClientsOf } from '../support/socket-client.ts';

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.close());
const open = socketClientsOf(() => server);

const meta = { sys: 'sys-1', mod: 'Display', index: 1, name: 'power' };

describe('debug', () => {
  it.each([{ sys: 'sys-1', mod: 'Display', index: 1, name: 'debug' }, { sys: 'sys-1', mod: 'mod-1', index: 1, name: 'debug' }])('streams the log lines of $mod, until it is ignored', async (target) => {
    const client = await open();
    expect(await client.ask({ id: 1, cmd: 'debug', ...target })).toEqual({ id: 1, type: 'success', mod_id: 'mod-1', meta: target });
    server.node.log('mod-1', { level: 'warn', message: 'lamp is old' });
    server.node.log('mod-2', { level: 'warn', message: 'of another module' });
    expect(await client.next()).toEqual({ type: 'debug', mod: 'mod-1', klass: 'Mock display', level: 'warn', msg: 'lamp is old', node: 'master-under-test', meta: target });
    expect(await client.ask({ id: 2, cmd: 'ignore', ...target })).toEqual({ id: 2, type: 'success', meta: target });
    expect(server.node.debuggers).toBe(0);
  });

  it('answers error 6 for a module that does not exist', async () => {
    expect(await (await open()).ask({ id: 1, cmd: 'debug', ...meta, mod: 'mod-9' })).toMatchObject({ type: 'error', code: 6 });
  });

  /** Asked, and not heard of yet by whoever drives. */
  const waiting = async (clients = 1) => {
    let placed = (): void => undefined;
    server.node.debugPlaced = new Promise((resolve) => (placed = resolve));
    const client = await open();
    for (let id = 1; id <= clients; id += 1) client.send({ id, cmd: 'debug', ...meta });
    await expect.poll(() => server.node.debuggers).toBe(1);
    return { client, placed };
  };
  const line = { level: 'warn', message: 'lamp is old' } as const;

  it('is answered before its lines, once whoever drives has heard of it, each time that it was asked', async () => {
    const { client, placed } = await waiting(2);
    server.node.log('mod-1', line);
    expect(await client.ask('ping')).toBe('pong');
    placed();
    expect([await client.next(), await client.next()]).toMatchObject([{ id: 1, type: 'success', mod_id: 'mod-1' }, { id: 2, type: 'success' }]);
    server.node.log('mod-1', line);
    expect(await client.next()).toMatchObject({ type: 'debug', msg: 'lamp is old' });
    expect([server.node.debuggers, client.frames.length]).toEqual([1, 4]);
  });

  it('that is taken back before its answer is over', async () => {
    const { client, placed } = await waiting();
    expect(await client.ask({ id: 2, cmd: 'ignore', ...meta })).toMatchObject({ id: 2, type: 'success' });
    placed();
    expect(await client.next()).toMatchObject({ id: 1, type: 'success' });
    expect(server.node.debuggers).toBe(0);
    server.node.log('mod-1', line);
    expect(await client.ask('ping')).toBe('pong');
  });

  it.each([['in time', 'success'], ['with CANCELLED', 'error']])('is answered before its socket is closed, %s, and ends with it', async (_, type) => {
    const { client, placed } = await waiting();
    if (type === 'success') server.api.sockets.close();
    else server.api.sockets.cancel();
    if (type === 'success') placed();
    expect(await client.next()).toMatchObject({ id: 1, type });
    await expect.poll(() => client.closed?.reason).toBe('shutting-down');
    placed();
    await expect.poll(() => server.node.debuggers).toBe(0);
  });

  it('is for so many modules, those that wait for their answer among them', async () => {
    const { client, placed } = await waiting();
    for (let index = 2; index <= limits.clientSocketDebugs + 1; index += 1) client.send({ id: index, cmd: 'debug', ...meta, mod: 'mod-1', index });
    expect(await client.next()).toMatchObject({ id: limits.clientSocketDebugs + 1, type: 'error', error: { code: 'LIMIT_REACHED' } });
    placed();
    await expect.poll(() => client.frames.length).toBe(limits.clientSocketDebugs + 1);
  });
});
