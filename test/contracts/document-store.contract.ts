import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Json } from '../../src/shared/foundation/json.ts';
import type { AnyDocument } from '../../src/shared/model/documents.ts';
import type { Change, DocumentStore, FeedEntry, FeedHead, Version } from '../../src/shared/ports/document-store.ts';
import { edgeDocument, moduleDocument, systemDocument } from '../support/sample-documents.ts';

export interface StoreUnderTest {
  store: DocumentStore;
  close(): Promise<void>;
}
export interface StoreOptions {
  /** Removals that the feed remembers. */
  tombstones?: number;
}

const create = (document: AnyDocument): Change => ({ op: 'put', document, expect: null });
const update = (document: AnyDocument, expect: Version): Change => ({ op: 'put', document, expect });
const ids = (entries: { id: string }[]): string[] => entries.map((entry) => entry.id);

/** What every document store must do. */
/** `many`: how many documents it must go with. */
export function documentStoreContract(name: string, make: (options: StoreOptions) => Promise<StoreUnderTest>, many = 100_000): void {
  describe(`document store: ${name}`, () => {
    let made: StoreUnderTest;
    let store: DocumentStore;
    beforeEach(async () => {
      made = await make({});
      store = made.store;
    });
    afterEach(() => made.close());

    async function put(...documents: AnyDocument[]): Promise<Version[]> {
      return store.apply(documents.map(create));
    }

    async function versionOf(id: string): Promise<Version> {
      const stored = await store.get(id);
      if (stored === null) throw new Error(`there is no ${id}`);
      return stored.version;
    }

    describe('compare and set', () => {
      it('gives back what was written, with its version', async () => {
        const document = moduleDocument('mod-1', { settings: { input: 'hdmi', levels: [1, 2.5, null] } });
        const [version] = await put(document);
        expect(await store.get('mod-1')).toEqual({ document, version });
      });

      it('knows nothing of an id that was never written', async () => {
        expect(await store.get('mod-none')).toBeNull();
      });

      it('gives a new version with each write', async () => {
        const [first] = await put(moduleDocument('mod-1'));
        const [second] = await store.apply([update(moduleDocument('mod-1', { port: 1 }), await versionOf('mod-1'))]);
        const [third] = await store.apply([update(moduleDocument('mod-1', { port: 1 }), await versionOf('mod-1'))]);
        expect(new Set([first, second, third]).size).toBe(3);
      });

      it('refuses a write on an older version and says which is there', async () => {
        await put(moduleDocument('mod-1'));
        const first = await versionOf('mod-1');
        await store.apply([update(moduleDocument('mod-1', { port: 1 }), first)]);
        const second = await versionOf('mod-1');
        const late = store.apply([update(moduleDocument('mod-1', { port: 2 }), first)]);
        await expect(late).rejects.toMatchObject({ code: 'VERSION_CONFLICT', facts: { id: 'mod-1', expected: first, actual: second } });
        expect(await store.get('mod-1')).toMatchObject({ document: { port: 1 } });
      });

      it('refuses to create what exists, and to change or remove what does not', async () => {
        await put(moduleDocument('mod-1'));
        const version = await versionOf('mod-1');
        const conflict = { code: 'VERSION_CONFLICT' };
        await expect(put(moduleDocument('mod-1'))).rejects.toMatchObject(conflict);
        await expect(store.apply([update(moduleDocument('mod-2'), version)])).rejects.toMatchObject(conflict);
        await expect(store.apply([{ op: 'remove', id: 'mod-2', expect: version }])).rejects.toMatchObject(conflict);
      });

      it('removes, and lets the id be used again', async () => {
        await put(moduleDocument('mod-1'));
        const before = await versionOf('mod-1');
        await store.apply([{ op: 'remove', id: 'mod-1', expect: before }]);
        expect(await store.get('mod-1')).toBeNull();
        await put(moduleDocument('mod-1', { port: 7 }));
        expect(await versionOf('mod-1')).not.toBe(before);
      });

      it('changes all or nothing', async () => {
        await put(moduleDocument('mod-2'));
        const head = await store.head();
        await expect(put(moduleDocument('mod-1'), moduleDocument('mod-2'))).rejects.toMatchObject({ code: 'VERSION_CONFLICT' });
        expect(await store.get('mod-1')).toBeNull();
        expect(await store.head()).toEqual(head);
      });

      it('lets exactly one of many writers on the same version win', async () => {
        await put(moduleDocument('mod-1'));
        const version = await versionOf('mod-1');
        const results = await Promise.allSettled(
          Array.from({ length: 50 }, (_, port) => store.apply([update(moduleDocument('mod-1', { port }), version)])),
        );
        expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
      });

      it('lets the refusal of one caller leave the others of the same moment alone', async () => {
        await put(moduleDocument('mod-taken'));
        const results = await Promise.allSettled(['mod-1', 'mod-taken', 'mod-2'].map((id) => put(moduleDocument(id))));
        expect(results.map((result) => result.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
        expect(await store.get('mod-1')).not.toBeNull();
        expect(await store.get('mod-2')).not.toBeNull();
      });

      it('loses no change of many who read, change and write again when they were late', async () => {
        await put(moduleDocument('mod-1', { port: 0 }));
        const raiseOnce = async (): Promise<boolean> => {
          const read = await store.get('mod-1');
          if (read?.document.type !== 'mod') throw new Error('it is there');
          const next = update({ ...read.document, port: read.document.port + 1 }, read.version);
          return store.apply([next]).then(() => true, (error: { code?: string }) => {
            if (error.code !== 'VERSION_CONFLICT') throw error;
            return false;
          });
        };
        const raise = async (): Promise<void> => {
          for (let done = 0; done < 10; ) done += Number(await raiseOnce());
        };
        await Promise.all(Array.from({ length: 8 }, raise));
        expect(await store.get('mod-1')).toMatchObject({ document: { port: 80 } });
      });

      it('lets a later change of the same call stand on an earlier one', async () => {
        const twice = store.apply([create(moduleDocument('mod-1')), create(moduleDocument('mod-1'))]);
        await expect(twice).rejects.toMatchObject({ code: 'VERSION_CONFLICT', facts: { id: 'mod-1', expected: null } });
        expect(await store.get('mod-1')).toBeNull();
      });

      it('takes no text for a version that it did not give', async () => {
        const [version = ''] = await put(moduleDocument('mod-1'));
        const strange = ['', '0', '1', '-1', '0x12', '18446744073709551616', ' ', '\0', version.toUpperCase() + '0', `${version} `, ` ${version}`, '9'.repeat(300), '💡'];
        for (const text of strange) {
          const blind = store.apply([update(moduleDocument('mod-1', { port: 1 }), text as Version)]);
          await expect(blind, `version ${JSON.stringify(text)}`).rejects.toMatchObject({ code: 'VERSION_CONFLICT', facts: { actual: version } });
        }
        expect(await versionOf('mod-1')).toBe(version);
      });

      it('is not changed by what the caller does with the objects later', async () => {
        const document = moduleDocument('mod-1', { settings: { input: 'hdmi' } });
        await put(document);
        document.settings['input'] = 'vga';
        const read = await store.get('mod-1');
        expect(read?.document).toMatchObject({ settings: { input: 'hdmi' } });
      });
    });

    describe('look-ups', () => {
      it('lists one kind in byte order of the ids, page by page', async () => {
        await put(...['mod-b', 'mod-B', 'mod-a', 'mod-10', 'mod-9', 'mod_a'].map((id) => moduleDocument(id)), edgeDocument('edge-1'));
        const first = await store.list('mod', { limit: 4 });
        const rest = await store.list('mod', { limit: 4, after: 'mod-a' });
        expect(ids([...first, ...rest].map((stored) => stored.document))).toEqual(['mod-10', 'mod-9', 'mod-B', 'mod-a', 'mod-b', 'mod_a']);
        expect(first[0]?.version).toBe(await versionOf('mod-10'));
      });

      it('finds the systems and the modules of an edge, and those of none', async () => {
        await put(
          systemDocument('sys-2', { edge_control_id: 'edge-1' }), systemDocument('sys-1', { edge_control_id: 'edge-1' }),
          systemDocument('sys-3', { edge_control_id: 'edge-2' }), systemDocument('sys-4'),
          moduleDocument('mod-1', { edge_control_id: 'edge-1' }), moduleDocument('mod-2'), edgeDocument('edge-1'),
        );
        expect(ids(await store.systemsOf('edge-1'))).toEqual(['sys-1', 'sys-2']);
        expect(ids(await store.systemsOf(null))).toEqual(['sys-4']);
        expect(ids(await store.modulesOf('edge-1'))).toEqual(['mod-1']);
        expect(ids(await store.modulesOf(null))).toEqual(['mod-2']);
        expect(await store.modulesOf('edge-none')).toEqual([]);
      });

      it('follows a module that moves to another edge or is removed', async () => {
        await put(moduleDocument('mod-1', { edge_control_id: 'edge-1' }));
        await store.apply([update(moduleDocument('mod-1', { edge_control_id: 'edge-2' }), await versionOf('mod-1'))]);
        expect(await store.modulesOf('edge-1')).toEqual([]);
        expect(ids(await store.modulesOf('edge-2'))).toEqual(['mod-1']);
        await store.apply([{ op: 'remove', id: 'mod-1', expect: await versionOf('mod-1') }]);
        expect(await store.modulesOf('edge-2')).toEqual([]);
        expect(await store.list('mod', { limit: 10 })).toEqual([]);
      });

      it('gives all of many modules', async () => {
        const all = Array.from({ length: 1_234 }, (_, i) => moduleDocument(`mod-${String(i).padStart(4, '0')}`, { edge_control_id: 'edge-1' }));
        await put(...all);
        expect(await store.modulesOf('edge-1')).toEqual(all);
      });
    });

    describe('values', () => {
      it('gives back unusual ones as they were', async () => {
        const settings = {
          '': 'no name', 'a.b': 1, 'ids[0]': 2, '`': 3, '"': 4, '\\': 5, $dollar: 6, _version: 'mine', type: 'not this', id: 'nor this', 'ключ 键 🔑': true,
          numbers: [0, -1, 1e308, 5e-324, 0.1, Number.MAX_SAFE_INTEGER], texts: ['', '\u0000', '\u2028', 'é', '🏢', '</script>', '\r\n\t'],
          empty: [{}, [], null], deep: nested(60),
        };
        const document = moduleDocument(`mod-${'a.b_c-'.repeat(19)}`, { settings });
        await put(document);
        expect((await store.get(document.id))?.document).toEqual(document);
        expect((await store.list('mod', { limit: 1 }))[0]?.document).toEqual(document);
        expect((await store.changesSince(await start(), 10)).entries[0]?.document).toEqual(document);
      });

      it('gives back large ones, several at a time', async () => {
        const large = Array.from({ length: 6 }, (_, i) => moduleDocument(`mod-${i}`, { settings: { text: `${i}🏢`.repeat(140_000) } }));
        await put(...large);
        expect((await store.list('mod', { limit: 10 })).map(({ document }) => document)).toEqual(large);
      });

      it('lets an id come back as another kind', async () => {
        await put(moduleDocument('thing', { edge_control_id: 'edge-1' }));
        await store.apply([update(systemDocument('thing', { edge_control_id: 'edge-1' }), await versionOf('thing'))]);
        expect(await store.modulesOf('edge-1')).toEqual([]);
        expect(ids(await store.systemsOf('edge-1'))).toEqual(['thing']);
        expect(await store.list('mod', { limit: 10 })).toEqual([]);
      });
    });

    const start = async (): Promise<FeedHead> => ({ ...(await store.head()), sequence: 0 });

    describe('change feed', () => {
      it('starts at 0 and rises with every change', async () => {
        expect((await store.head()).sequence).toBe(0);
        await put(moduleDocument('mod-1'), moduleDocument('mod-2'));
        expect((await store.head()).sequence).toBe(2);
      });

      it('gives the newest state of each changed document, in order', async () => {
        await put(moduleDocument('mod-1'), moduleDocument('mod-2'));
        await store.apply([update(moduleDocument('mod-1', { port: 9 }), await versionOf('mod-1'))]);
        const page = await store.changesSince(await start(), 10);
        expect(page.tooOld).toBe(false);
        expect(page.entries).toEqual([
          { sequence: 2, id: 'mod-2', kind: 'mod', document: moduleDocument('mod-2') },
          { sequence: 3, id: 'mod-1', kind: 'mod', document: moduleDocument('mod-1', { port: 9 }) },
        ]);
        expect(page.sequence).toBe(3);
      });

      it('can be read page by page, from the cursor that each page gives', async () => {
        await put(...Array.from({ length: 7 }, (_, i) => moduleDocument(`mod-${i}`)));
        const seen: string[] = [];
        let cursor = await start();
        for (let pages = 0; pages < 4; pages += 1) {
          const page = await store.changesSince(cursor, 3);
          seen.push(...ids(page.entries));
          cursor = { generation: page.generation, sequence: page.sequence, run: page.run };
        }
        expect(seen).toEqual(Array.from({ length: 7 }, (_, i) => `mod-${i}`));
        expect(cursor).toEqual(await store.head());
      });

      it('gives a reader who resumes while others write the last state of each document, in rising order', async () => {
        const seen = new Map<string, number>();
        let cursor = await start();
        const read = async (): Promise<boolean> => {
          const page = await store.changesSince(cursor, 7);
          for (const { id, sequence, document } of page.entries) {
            expect(sequence).toBeGreaterThan(cursor.sequence);
            cursor = { generation: page.generation, sequence };
            seen.set(id, document?.type === 'mod' ? document.port : -1);
          }
          cursor = { generation: page.generation, sequence: page.sequence, run: page.run };
          return page.entries.length > 0;
        };
        const write = async (writer: number): Promise<void> => {
          const id = `mod-${writer}`;
          let [version] = await put(moduleDocument(id, { port: 1 }));
          for (let port = 2; port <= 20 && version !== undefined; port += 1) [version] = await store.apply([update(moduleDocument(id, { port }), version)]);
        };
        const writers = Promise.all(Array.from({ length: 10 }, (_, writer) => write(writer)));
        const progress = { writing: true };
        const done = writers.finally(() => (progress.writing = false));
        while (progress.writing) await read();
        await done;
        while (await read());
        expect([...seen.values()]).toEqual(Array.from({ length: 10 }, () => 20));
      });

      it('keeps a removal as an entry without a document', async () => {
        await put(edgeDocument('edge-1'));
        const { sequence, generation } = await store.head();
        await store.apply([{ op: 'remove', id: 'edge-1', expect: await versionOf('edge-1') }]);
        const page = await store.changesSince({ generation, sequence }, 10);
        expect(page.entries).toEqual([{ sequence: 2, id: 'edge-1', kind: 'edge', document: null }]);
      });

      it('says too old to a cursor of another generation or of the future', async () => {
        await put(moduleDocument('mod-1'));
        const head = await store.head();
        expect(await store.changesSince({ ...head, generation: 'other' }, 10)).toMatchObject({ tooOld: true, entries: [] });
        expect(await store.changesSince({ ...head, sequence: 2 }, 10)).toMatchObject({ tooOld: true, entries: [] });
        expect(await store.changesSince(head, 10)).toMatchObject({ tooOld: false, entries: [] });
      });

      it('says too old once the removals that a cursor needs are forgotten, and never gives a sequence twice', async () => {
        await made.close();
        made = await make({ tombstones: 3 });
        store = made.store;
        await put(...Array.from({ length: 8 }, (_, i) => moduleDocument(`mod-${i}`)));
        const before = await store.head();
        for (let i = 0; i < 8; i += 1) await store.apply([{ op: 'remove', id: `mod-${i}`, expect: await versionOf(`mod-${i}`) }]);
        const after = await store.head();
        expect(after.sequence).toBe(16);
        expect((await store.changesSince(before, 100)).tooOld).toBe(true);
        const recent = await store.changesSince({ ...after, sequence: 13 }, 100);
        expect(ids(recent.entries)).toEqual(['mod-5', 'mod-6', 'mod-7']);
      });

      it('tells listeners the head after each commit, until they stop', async () => {
        const heads: FeedHead[] = [];
        const stop = store.onChange((head) => heads.push(head));
        await put(moduleDocument('mod-1'));
        const { generation, sequence } = await store.head();
        expect(heads).toEqual([{ generation, sequence }]);
        await expect(put(moduleDocument('mod-1'))).rejects.toThrow('mod-1');
        expect(heads).toHaveLength(1);
        stop();
        await put(moduleDocument('mod-2'));
        expect(heads).toHaveLength(1);
      });

      it('tells listeners what a commit may have changed, before its author goes on', async () => {
        const told: string[] = [];
        store.onChange((_head, touched) => told.push(...(touched ?? ['anything'])));
        await Promise.all(
          ['mod-1', 'mod-2', 'mod-3'].map(async (id) => {
            await put(moduleDocument(id));
            expect(told).toContain(id);
          }),
        );
        expect(told.toSorted()).toEqual(['mod-1', 'mod-2', 'mod-3']);
        await store.apply([{ op: 'remove', id: 'mod-2', expect: await versionOf('mod-2') }]);
        expect(told.at(-1)).toBe('mod-2');
        await store.applyFeed([{ sequence: 4, id: 'mod-4', kind: 'mod', document: moduleDocument('mod-4') }], { generation: 'other', sequence: 4 });
        expect(told.at(-1)).toBe('mod-4');
        told.length = 0;
        await store.replaceAll([moduleDocument('mod-5')], { generation: 'other', sequence: 5 });
        expect(told.some((id) => id === 'mod-5' || id === 'anything')).toBe(true);
      });
    });

    describe('replica', () => {
      const at = (sequence: number): FeedHead => ({ generation: 'of-the-master', sequence });
      const entry = (sequence: number, id: string, document: AnyDocument | null): FeedEntry => ({ sequence, id, kind: 'mod', document });

      it('has no cursor before anything was applied', async () => {
        await put(moduleDocument('mod-own'));
        expect(await store.cursor()).toBeNull();
      });

      it('applies entries together with the cursor', async () => {
        await store.applyFeed([entry(4, 'mod-1', moduleDocument('mod-1')), entry(6, 'mod-2', moduleDocument('mod-2'))], at(6));
        await store.applyFeed([entry(7, 'mod-1', null)], at(9));
        expect(await store.get('mod-1')).toBeNull();
        expect(await store.get('mod-2')).toMatchObject({ document: moduleDocument('mod-2') });
        expect(await store.cursor()).toEqual(at(9));
      });

      it('skips entries at or below the cursor, and never moves it back', async () => {
        await store.applyFeed([entry(6, 'mod-1', moduleDocument('mod-1', { port: 6 }))], at(6));
        await store.applyFeed([entry(5, 'mod-1', moduleDocument('mod-1', { port: 5 })), entry(6, 'mod-1', null)], at(6));
        await store.applyFeed([], at(2));
        expect(await store.get('mod-1')).toMatchObject({ document: { port: 6 } });
        expect(await store.cursor()).toEqual(at(6));
      });

      it('refuses entries of another generation than its cursor', async () => {
        await store.applyFeed([], at(3));
        const other = store.applyFeed([entry(9, 'mod-1', moduleDocument('mod-1'))], { generation: 'restored', sequence: 9 });
        await expect(other).rejects.toMatchObject({ code: 'INPUT_INVALID' });
        expect(await store.get('mod-1')).toBeNull();
        expect(await store.cursor()).toEqual(at(3));
      });

      it('is replaced by a snapshot as a whole, and leaves what is the same alone', async () => {
        await put(moduleDocument('mod-same'), moduleDocument('mod-gone'), moduleDocument('mod-other', { edge_control_id: 'edge-1' }));
        const version = await versionOf('mod-same');
        const head = await store.head();
        const snapshot = [moduleDocument('mod-same'), moduleDocument('mod-other', { edge_control_id: 'edge-2' }), systemDocument('sys-new')];
        await store.replaceAll(snapshot, at(40));
        expect(ids((await store.list('mod', { limit: 10 })).map((stored) => stored.document))).toEqual(['mod-other', 'mod-same']);
        expect(ids(await store.modulesOf('edge-2'))).toEqual(['mod-other']);
        expect(await store.get('sys-new')).toMatchObject({ document: systemDocument('sys-new') });
        expect(await versionOf('mod-same')).toBe(version);
        expect(await store.cursor()).toEqual(at(40));
        const { entries } = await store.changesSince(head, 10);
        expect(ids(entries).sort()).toEqual(['mod-gone', 'mod-other', 'sys-new']);
      });

      it('takes an empty snapshot, and a snapshot of another generation', async () => {
        await store.applyFeed([entry(1, 'mod-1', moduleDocument('mod-1'))], at(1));
        await store.replaceAll([], { generation: 'restored', sequence: 5 });
        expect(await store.get('mod-1')).toBeNull();
        expect(await store.cursor()).toEqual({ generation: 'restored', sequence: 5 });
      });

      it('takes a snapshot of many documents', async () => {
        const many = Array.from({ length: 2_345 }, (_, i) => moduleDocument(`mod-${i}`, { edge_control_id: 'edge-1' }));
        await store.replaceAll(many, at(9_000));
        expect(await store.modulesOf('edge-1')).toHaveLength(2_345);
      });

      it('feeds its own listeners, and only when something changed', async () => {
        const heads: FeedHead[] = [];
        store.onChange((head) => heads.push(head));
        await store.applyFeed([entry(4, 'mod-1', moduleDocument('mod-1'))], at(4));
        await store.applyFeed([entry(5, 'mod-1', moduleDocument('mod-1')), entry(6, 'mod-none', null)], at(6));
        await store.replaceAll([moduleDocument('mod-1')], at(8));
        expect(heads).toEqual([await store.head()]);
        await store.replaceAll([], at(9));
        expect(heads).toHaveLength(2);
      });
    });

    describe(`${many} documents`, () => {
      const PER_CALL = 1_000;
      const idOf = (i: number): string => `mod-${String(i).padStart(6, '0')}`;

      it('are stored, listed, looked up, fed and changed', async () => {
        for (let from = 0; from < many; from += PER_CALL) {
          await put(...Array.from({ length: PER_CALL }, (_, i) => moduleDocument(idOf(from + i), { edge_control_id: `edge-${(from + i) % 5}` })));
        }
        expect((await store.head()).sequence).toBe(many);
        const last = await store.list('mod', { limit: 10, after: idOf(many - 6) });
        expect(ids(last.map(({ document }) => document))).toEqual([5, 4, 3, 2, 1].map((fromEnd) => idOf(many - fromEnd)));
        expect(await store.modulesOf('edge-2')).toHaveLength(many / 5);
        const { entries } = await store.changesSince({ ...(await store.head()), sequence: many - 3 }, 10);
        expect(ids(entries)).toEqual([3, 2, 1].map((fromEnd) => idOf(many - fromEnd)));
        await store.apply([update(moduleDocument(idOf(5), { port: 9 }), await versionOf(idOf(5)))]);
        await store.apply([{ op: 'remove', id: idOf(6), expect: await versionOf(idOf(6)) }]);
        expect(await store.get(idOf(5))).toMatchObject({ document: { port: 9 } });
        expect(await store.modulesOf('edge-1')).toHaveLength(many / 5 - 1);
      });
    });
  });
}

/** So many lists within each other. */
const nested = (depth: number): Json => (depth === 0 ? 'bottom' : [nested(depth - 1)]);
