import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openEmbeddedJournal } from '../../../src/shared/adapters/journal-embedded/embedded-journal.ts';
import { raiseGeneration } from '../../../src/shared/adapters/journal-embedded/raise-generation.ts';
import { journalEntry } from '../../contracts/control-journal.contract.ts';
import { silentLog } from '../../support/silent-log.ts';
import { tempFolders } from '../../support/temp-folder.ts';

const folder = tempFolders();
const open = (path: string) => openEmbeddedJournal({ path, log: silentLog });

describe('control journal after a restore', () => {
  it('is a generation further in every location, and nobody holds', async () => {
    const path = join(folder(), 'control.db');
    const before = await open(path);
    await before.write(journalEntry('edge-1', { epoch: { generation: 0, number: 7 }, floor: { generation: 0, number: 8 }, holder: 'master' }));
    await before.write(journalEntry('edge-2', { epoch: { generation: 2, number: 9 }, floor: { generation: 3, number: 4 } }));
    await before.close();

    expect(raiseGeneration(path, 5_000)).toBe(2);

    const after = await open(path);
    const nobody = { holder: 'none', reason: 'restored', sinceMs: 5_000 } as const;
    expect(await after.load()).toEqual([
      journalEntry('edge-1', { epoch: { generation: 1, number: 7 }, floor: { generation: 1, number: 8 }, ...nobody }),
      journalEntry('edge-2', { epoch: { generation: 4, number: 9 }, floor: { generation: 4, number: 9 }, ...nobody }),
    ]);
    expect(await after.history('edge-1', 1)).toMatchObject([{ reason: 'restored', holder: 'none', wallMs: 5_000 }]);
    await expect(after.write(journalEntry('edge-1', { epoch: { generation: 0, number: 100 } }))).rejects.toMatchObject({ code: 'STALE_EPOCH' });
    await after.close();
  });

  it('needs the journal for itself', async () => {
    const path = join(folder(), 'control.db');
    const journal = await open(path);
    await journal.write(journalEntry('edge-1'));
    expect(() => raiseGeneration(path)).toThrow(expect.objectContaining({ code: 'STORE_BUSY' }) as Error);
    expect(await journal.load()).toEqual([journalEntry('edge-1')]);
    await journal.close();
  });

  it('has nothing to raise where there is no journal', () => {
    expect(raiseGeneration(join(folder(), 'control.db'))).toBe(0);
  });
});
