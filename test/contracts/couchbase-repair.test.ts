import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { addressOf, holdfastNode, openOn } from '../support/couchbase/couchbase-world.ts';
import type { DataNode } from '../support/couchbase/data-node.ts';
import { eventually } from '../support/couchbase/eventually.ts';
import { type RemoteOptions, StoreProcess } from '../support/couchbase/store-process.ts';
import { moduleDocument } from '../support/sample-documents.ts';
import { tempFolders } from '../support/temp-folder.ts';
import { parseSiteFile } from '../../src/shared/runtime/site-files/site-file.ts';

const folder = tempFolders();
const sdk = new StoreProcess();
let node: DataNode;
let options: RemoteOptions;
beforeEach(async () => {
  node = holdfastNode();
  await node.start();
  options = { address: addressOf(node), password: 'pw-holdfast' };
});
afterEach(async () => {
  await sdk.closeStores();
  await node.stop();
  expect(node.unknown).toEqual([]);
});
afterAll(() => sdk.close());

/** 40 modules at two edges, written to the end. */
async function filled(): Promise<void> {
  const store = await openOn(sdk, node);
  await store.apply(Array.from({ length: 40 }, (_, i) => ({ op: 'put', document: moduleDocument(`mod-${i}`, { edge_control_id: `edge-${i % 2}` }), expect: null })));
  await eventually('documents are written', () => (node.collection('holdfast-private.log').read('head') as { written: number }).written === 1);
  await store.close();
}
/** The commits tell what the indexes do not, until they are forgotten. */
function forgetCommits(): void {
  const log = node.collection('holdfast-private.log');
  const head = log.read('head') as { generation: string };
  log.write('head', { ...head, first: 2 });
  log.drop(`commit-${head.generation}-1`);
}
const indexes = (): string[] => node.collection('holdfast.indexes').ids().filter((key) => key !== 'idx');
const contents = (): unknown[] => indexes().toSorted().map((key) => [key, (node.collection('holdfast.indexes').read(key) as { ids: unknown }).ids]);

describe('indexes', () => {
  it('agree with the documents after writes', async () => {
    await filled();
    expect(await sdk.inspect(options)).toEqual({ trouble: null, problem: '', index: { documents: 40, differences: [], damaged: [] } });
  });

  it('that were lost, cut short, filled with strangers or damaged are found and written anew, and then all documents are read again', async () => {
    await filled();
    forgetCommits();
    const before = contents();
    const all = node.collection('holdfast.indexes');
    const [lost = '', short = '', strange = '', damaged = ''] = indexes();
    const idsOf = (key: string): string[] => Object.keys((all.read(key) as { ids: object }).ids);
    const hidden = [...idsOf(lost), ...idsOf(short), ...idsOf(damaged)];
    all.drop(lost);
    all.write(short, { ...(all.read(short) as object), ids: {} });
    all.write(strange, { ...(all.read(strange) as object), ids: { ...(all.read(strange) as { ids: object }).ids, 'mod-none': 3 } });
    const late = await openOn(sdk, node);
    expect(await late.list('mod', { limit: 100 })).toHaveLength(40 - idsOf(short).length - hidden.length + idsOf(damaged).length);
    await late.close();
    all.write(damaged, { ids: 'gone' });

    const planned = await sdk.rebuild(options, true);
    expect(planned?.differences.flatMap(({ missing }) => missing).toSorted()).toEqual(hidden.toSorted());
    expect(planned?.differences.flatMap(({ surplus }) => surplus)).toEqual(['mod-none']);
    expect((await sdk.inspect(options)).index).toEqual(planned);
    expect(await sdk.rebuild(options, false)).toEqual(planned);
    expect(contents()).toEqual(before);
    expect(await sdk.rebuild(options, false)).toMatchObject({ differences: [] });
    const store = await openOn(sdk, node);
    expect(await store.list('mod', { limit: 100 })).toHaveLength(40);
  });

  it('that the root does not name are named again', async () => {
    await filled();
    forgetCommits();
    node.collection('holdfast.indexes').write('idx', {});
    expect((await sdk.rebuild(options, false))?.differences.flatMap(({ missing }) => missing)).toHaveLength(40);
    const store = await openOn(sdk, node);
    expect(await store.list('mod', { limit: 100 })).toHaveLength(40);
  });

  it('are written anew by the command line, with the environment of a server', async () => {
    await filled();
    forgetCommits();
    node.collection('holdfast.indexes').drop(indexes()[0] ?? '');
    const env = { HOLDFAST_STORE: `couchbase://holdfast@127.0.0.1:${node.port}/holdfast`, HOLDFAST_STORE_PASSWORD: 'pw-holdfast' };
    const { stdout } = await promisify(execFile)(process.execPath, ['dist/main.js', 'index', 'rebuild', '--yes', '-o', 'json'], { env });
    expect(JSON.parse(stdout)).toMatchObject({ documents: 40, differences: [{ surplus: [] }], dry_run: false });
    expect((await sdk.inspect(options)).index?.differences).toEqual([]);
  });

  it('that are damaged hide their documents from a start, which says so, and no others', async () => {
    await filled();
    forgetCommits();
    const [damaged = ''] = indexes();
    const hidden = Object.keys((node.collection('holdfast.indexes').read(damaged) as { ids: object }).ids).length;
    node.collection('holdfast.indexes').write(damaged, { ids: 'gone' });
    const store = await openOn(sdk, node);
    expect(await store.list('mod', { limit: 100 })).toHaveLength(40 - hidden);
    expect(store.log).toContainEqual(expect.objectContaining({ event: 'store.damaged', facts: expect.objectContaining({ problem: `index ${damaged} is missing or damaged: holdfast index rebuild` }) }));
  });

  it('are not touched while servers are writing', async () => {
    await filled();
    const store = await openOn(sdk, node);
    node.fault = ({ collection, opcode }) => (collection === 'holdfast.documents' && opcode !== 0x00 ? 'busy' : null);
    await store.apply([{ op: 'put', document: moduleDocument('mod-new'), expect: null }]);
    expect(await sdk.rebuild(options, false)).toBeNull();
    node.fault = () => null;
  });
});

describe('what is wrong is named', () => {
  it('a wrong password', async () => {
    expect(await sdk.inspect({ ...options, password: 'wrong' })).toMatchObject({ trouble: 'credentials' });
  });

  it('a missing bucket', async () => {
    expect(await sdk.inspect({ ...options, address: { ...addressOf(node), bucket: 'none' } })).toMatchObject({ trouble: 'bucket' });
  });

  it('a missing scope', async () => {
    expect(await sdk.inspect({ ...options, address: { ...addressOf(node), scope: 'none' } })).toMatchObject({ trouble: 'scope' });
  });

  it('replicas that make durable writes impossible', async () => {
    node.durable = false;
    expect(await sdk.inspect(options)).toMatchObject({ trouble: 'durability' });
  });

  it('a disk or a memory that is full', async () => {
    node.room = 0;
    expect(await sdk.inspect(options)).toMatchObject({ trouble: 'room' });
  });

  it('a database that is away', async () => {
    await node.stop();
    expect(await sdk.inspect(options)).toMatchObject({ trouble: 'away' });
  });

  it('a document that no schema takes', async () => {
    await filled();
    node.collection('holdfast.documents').write('mod-3', { type: 'mod', name: 7 });
    expect((await sdk.inspect(options)).index?.damaged).toEqual([expect.stringContaining('document mod-3: ')]);
  });
});

describe('holdfast import couchbase', () => {
  it('reads the default collection of a bucket, shows what changes, and writes a site file', async () => {
    const old = node.collection('_default._default');
    old.write('zone-1', { type: 'zone', name: 'Level 1', tags: 'level public', created_at: 1_500_000_000 });
    old.write('zonename-level 1', 'zone-1');
    const env = { HOLDFAST_STORE_PASSWORD: 'pw-holdfast' };
    const from = ['--from', `couchbase://holdfast@127.0.0.1:${node.port}/holdfast`];
    const out = join(folder(), 'site.yaml');
    const run = (...more: string[]) => promisify(execFile)(process.execPath, ['dist/main.js', 'import', 'couchbase', ...from, '--out', out, ...more], { env });
    const shown = (await run('--dry-run')).stdout;
    expect(shown).toContain('zone-1 tags: "level public" → ["level","public"] (was a text, and is a list)');
    expect(shown).toContain('zonename-level 1 left out: an entry of a unique index');
    expect(existsSync(out)).toBe(false);
    expect((await run()).stdout).toContain(`holdfast apply -f ${out} --dry-run`);
    expect((await parseSiteFile(readFileSync(out, 'utf8'))).entries.map(({ document }) => document)).toMatchObject([{ id: 'zone-1', type: 'zone', tags: ['level', 'public'] }]);
  });
});
