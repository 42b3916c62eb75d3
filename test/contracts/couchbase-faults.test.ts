import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Version } from '../../src/shared/ports/document-store.ts';
import { holdfastNode, openOn } from '../support/couchbase/couchbase-world.ts';
import { faults } from '../support/couchbase/data-node.ts';
import { runLane } from '../support/couchbase/fault-lane.ts';
import { StoreProcess } from '../support/couchbase/store-process.ts';
import { moduleDocument } from '../support/sample-documents.ts';
import { seededRandom } from '../support/seeded-random.ts';

let processes: [StoreProcess, StoreProcess];
beforeAll(() => {
  processes = [new StoreProcess(), new StoreProcess()];
});
afterAll(async () => {
  for (const process of processes) await process.close();
});

const LANES = 8;
const STEPS = 190;

describe('the store on a database that fails', () => {
  it('keeps the contract over 1,500 steps of two nodes and 300 faults', async () => {
    const reports = await Promise.all(Array.from({ length: LANES }, (_, lane) => runLane(lane + 1, STEPS, processes)));
    const sum = (of: (report: (typeof reports)[number]) => number): number => reports.reduce((total, report) => total + of(report), 0);
    expect(sum(({ steps }) => steps)).toBeGreaterThanOrEqual(1_500);
    for (const fault of faults) expect(sum(({ faults: of }) => of.get(fault) ?? 0), fault).toBeGreaterThan(0);
    expect(sum(({ faults: of }) => [...of.values()].reduce((total, count) => total + count, 0))).toBeGreaterThanOrEqual(300);
    expect(processes.map(({ alive }) => alive)).toEqual([true, true]);
  });

  it('takes none of 1,000 strange versions, and survives them', async () => {
    const node = holdfastNode();
    await node.start();
    const store = await openOn(processes[0], node);
    await store.apply([{ op: 'put', document: moduleDocument('mod-1'), expect: null }]);
    const draw = seededRandom(7);
    const alphabet = ['0', '1', '9', 'x', 'abc', '-', '.', ' ', '\0', '💡', '18446744073709551616', 'null', '%s%n', '"', '\\', 'Cas<1>'];
    const texts = new Set<string>();
    while (texts.size < 1_000) texts.add(Array.from({ length: Math.floor(draw() * 12) }, () => alphabet[Math.floor(draw() * alphabet.length)]).join(''));
    await Promise.all(
      [...texts].map(async (text) => {
        const put = store.apply([{ op: 'put', document: moduleDocument('mod-1', { port: 1 }), expect: text as Version }]);
        await expect(put, JSON.stringify(text)).rejects.toMatchObject({ code: 'VERSION_CONFLICT' });
        await expect(store.apply([{ op: 'remove', id: 'mod-1', expect: text as Version }])).rejects.toMatchObject({ code: 'VERSION_CONFLICT' });
      }),
    );
    expect(processes[0].alive).toBe(true);
    expect(await store.get('mod-1')).toMatchObject({ document: { port: 0 } });
    await store.close();
    await node.stop();
    expect(node.unknown).toEqual([]);
  });
});
