import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { TestFederation } from './federation.ts';
import { importPublishedClient } from './browser.ts';

export const power = { sys: 'sys-berlin', mod: 'Display', index: 1, name: 'power' };

interface Server {
  origin: string;
  apiKey: string;
}

/** The published client, set up as a panel does it. */
export async function setUpPanel({ origin, apiKey }: Server) {
  const client = await importPublishedClient(apiKey);
  const options = {
    host: origin.replace(/^https?:\/\//, ''),
    auth_uri: '/auth/oauth/authorize',
    token_uri: '/auth/token',
    redirect_uri: 'http://panel/oauth-resp.html',
    scope: 'public',
    mock: false,
    token_header: true,
  };
  await client.setup(options);
  /** Binds, and collects every value from then on. */
  const values = async (name: string): Promise<unknown[]> => {
    const seen: unknown[] = [];
    client.listen({ ...power, name }).subscribe((value) => void seen.push(value));
    await client.bind({ ...power, name });
    return seen;
  };
  return { client, options, values };
}

/** What a panel does in a normal session, against whichever server. */
export async function normalSession(server: Server): Promise<void> {
  const { client, values } = await setUpPanel(server);
  expect(client.apiEndpoint()).toBe(`${server.origin}/api/engine/v2`);

  const first = await client.querySystems({ limit: 1 }).toPromise();
  expect([first?.total, first?.data.length]).toEqual([2, 1]);
  const second = await first?.next?.()?.toPromise();
  expect([...(first?.data ?? []), ...(second?.data ?? [])].map(({ id }) => id).toSorted()).toEqual(['sys-berlin', 'sys-lisbon']);
  expect(second?.next?.()).toBeFalsy();
  expect((await client.showSystem('sys-berlin').toPromise())?.name).toBe('Berlin boardroom');

  const seen = await values('power');
  await client.bind(power);
  expect(await client.execute({ ...power, args: [true] })).toBe(true);
  await expect.poll(() => seen.at(-1)).toBe(true);
  expect(await client.execute({ ...power, args: [false] })).toBe(false);
  await expect.poll(() => seen.at(-1)).toBe(false);
  expect(await client.execute({ ...power, name: 'echo', args: [{ deep: [1, null] }] })).toEqual({ deep: [1, null] });
  await expect(client.execute({ ...power, name: 'dance' })).rejects.toMatchObject({ type: 'error', code: 3, error: { code: 'METHOD_NOT_FOUND' } });
  await expect(client.execute({ ...power, mod: 'Teapot' })).rejects.toMatchObject({ type: 'error', code: 6 });
  await expect(client.bind({ ...power, sys: 'sys-nowhere' })).rejects.toMatchObject({ type: 'error', code: 5 });
}

/** The devices of Berlin send something that their driver does not understand, and says so in its log. */
export async function confuseDevices(world: TestFederation): Promise<void> {
  const log = readFileSync(join(world.federation.dataDir, 'devices-berlin.log'), 'utf8');
  const port = Number(/"control":(\d+)/.exec(log)?.[1]);
  const socket = connect({ host: '127.0.0.1', port });
  socket.write(`${JSON.stringify({ push: { name: '9-nonsense', value: 1 } })}\n`);
  await new Promise((resolve) => socket.once('data', resolve));
  socket.destroy();
}

/** Log lines of drivers at the edge, by name and by module id, until they are not wanted any more. The client is set up. */
export async function logSession(world: TestFederation): Promise<void> {
  const client = await importPublishedClient(world.federation.apiKey);
  const lines: string[] = [];
  client.debug_events.subscribe(({ mod_id, message }) => void lines.push(`${mod_id}: ${message}`));
  await client.debug({ ...power, name: 'debug' });
  await client.debug({ ...power, mod: 'mod-berlin-2', name: 'debug' });
  const line = (module: string): string => `${module}: not understood: event 9-nonsense 1`;
  await confuseDevices(world);
  await expect.poll(() => lines.toSorted(), { timeout: 5_000 }).toEqual([line('mod-berlin-1'), line('mod-berlin-2')]);
  await client.ignore({ ...power, name: 'debug' });
  const before = lines.length;
  await confuseDevices(world);
  await expect.poll(() => lines.slice(before), { timeout: 5_000 }).toContain(line('mod-berlin-2'));
  expect(lines.slice(before)).not.toContain(line('mod-berlin-1'));
}
