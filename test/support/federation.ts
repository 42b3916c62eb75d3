import { join, resolve } from 'node:path';
import { expect, vi } from 'vitest';
import { type Client, type Location, routes } from '../../src/client-sdk/index.ts';
import { type DemoOptions, Federation } from '../../src/demo/federation.ts';
import type { Scope } from '../../src/shared/foundation/scope.ts';
import { type LocationLogs, readControlLog } from './control-log.ts';
import { readWrites, type WriteLine } from './write-log.ts';

const dist = resolve('dist');

/** A federation of real processes, with the questions that tests ask of it. */
export interface TestFederation {
  federation: Federation;
  client: Client;
  /** The location as the master sees it. */
  location(id: string): Promise<Location>;
  /** As the edge itself sees it. */
  atEdge(id: string): Promise<Location>;
  /** Resolves when the master's view matches. */
  until(id: string, facts: Partial<Pick<Location, 'holder' | 'state' | 'reason' | 'link'>>, timeoutMs?: number): Promise<Location>;
  untilEdge(id: string, facts: Partial<Pick<Location, 'holder' | 'state' | 'reason' | 'link'>>, timeoutMs?: number): Promise<Location>;
  writes(): WriteLine[];
}

export async function startFederation(scope: Scope, options: Partial<DemoOptions> = {}): Promise<TestFederation> {
  const federation = await Federation.start({ dist, timeoutSeconds: 6, signal: scope.signal, progress: () => undefined, ...options });
  scope.defer('federation', () => federation.close());
  const client = federation.client();
  scope.defer('client', () => client.close());
  const show = (of: Client, id: string): Promise<Location> => of.call(routes.edgeShow, { params: { id } }, { timeoutMs: 5_000 });
  const edgeClients = new Map<string, Client>();
  const atEdge = (id: string): Promise<Location> => {
    const origin = federation.edge(id)?.origin ?? '';
    const known = edgeClients.get(id) ?? federation.client(origin);
    if (!edgeClients.has(id)) scope.defer(`client of ${id}`, () => known.close());
    edgeClients.set(id, known);
    return show(known, id);
  };
  const settled = async (read: () => Promise<Location>, facts: object, timeout: number): Promise<Location> => {
    // Not `expect.poll`: tests that run side by side each have an `expect` of their own.
    return vi.waitFor(
      async () => {
        const last = await read();
        expect(last).toMatchObject(facts);
        return last;
      },
      { timeout, interval: 50 },
    );
  };
  return {
    federation,
    client,
    location: (id) => show(client, id),
    atEdge,
    until: (id, facts, timeoutMs = 20_000) => settled(() => show(client, id), facts, timeoutMs),
    untilEdge: (id, facts, timeoutMs = 20_000) => settled(() => atEdge(id), facts, timeoutMs),
    writes: () => readWrites(join(federation.dataDir, 'writes.jsonl')),
  };
}

/** What the processes wrote down about a location; control in full only with HOLDFAST_LOG=debug. */
export function logsOf({ federation, writes }: TestFederation, location: string): LocationLogs {
  const lines = (folder: string): LocationLogs['edge']['lines'] => readControlLog(join(federation.dataDir, `${folder}.log`));
  return { location, edge: { id: location, lines: lines(location) }, master: { id: federation.master.id, lines: lines('master') }, writes: writes() };
}

/** How long a fault lasts is real time: nothing else tells a frozen process that time passes. */
export const later = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** One command to the first device of a site; null when it was refused, with its code in `refusals`. */
export async function command(client: Client, site: string, refusals: string[] = []): Promise<unknown> {
  try {
    return await client.call(routes.exec, { params: { id: `sys-${site}`, module: 'Display_1', method: 'echo' }, body: ['hello'] }, { timeoutMs: 15_000 });
  } catch (error) {
    refusals.push(error instanceof Error && 'code' in error ? String(error.code) : String(error));
    return null;
  }
}

/** One holder, both views agree, commands are answered again. */
export async function settled(world: TestFederation, site: string): Promise<void> {
  await expect
    .poll(
      async () => {
        const [there, here] = await Promise.all([world.location(site).catch(() => null), world.atEdge(site).catch(() => null)]);
        const agreed = there !== null && here !== null && there.holder === here.holder && there.holder !== 'none' && there.link.state === 'up';
        return agreed && (there.state === 'standby' || there.state === 'waiting-window' || there.state === 'holding');
      },
      { timeout: 45_000, interval: 100, message: `${site} has one holder` },
    )
    .toBe(true);
  // A device that takes one connection refuses a second one: whoever came too early tries again within 10 s.
  await expect.poll(() => command(world.client, site), { timeout: 15_000 }).toBe('hello');
}

/** Changes the `display_name` of the system of a site, at the master. */
export async function renameSystem(client: Client, site: string, name: string): Promise<void> {
  const { text } = await client.call(routes.export, {});
  const renamed = text.replace(/^( *)display_name: .*\n/m, '').replace(new RegExp(`^( *)(- id: sys-${site}\n)`, 'm'), `$1$2$1  display_name: ${name}\n`);
  await client.call(routes.apply, { body: { text: renamed, dry_run: false } });
}
