import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';
import { openEmbeddedJournal } from '../../../src/shared/adapters/journal-embedded/embedded-journal.ts';
import { openEmbeddedStore } from '../../../src/shared/adapters/store-embedded/embedded-store.ts';
import { silentLog } from '../../support/silent-log.ts';
import { tempFolders } from '../../support/temp-folder.ts';

const folder = tempFolders();

/** Everything that a child said was stored before it was killed, in the middle of its writes. */
async function killedAfter(acknowledgements: number, path: string, round: number): Promise<string[]> {
  const script = join(import.meta.dirname, 'children/write-until-killed.mjs');
  const child = spawn(process.execPath, [script, path, String(round)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const acknowledged: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    acknowledged.push(line);
    if (acknowledged.length === acknowledgements) child.kill('SIGKILL');
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  expect(child.signalCode).toBe('SIGKILL');
  return acknowledged;
}

describe('embedded store and journal: SIGKILL', () => {
  it('lose no acknowledged write', async () => {
    const path = folder();
    const documents: string[] = [];
    for (let round = 0; round < 6; round += 1) {
      const acknowledged = await killedAfter(50 + round * 170, path, round);
      documents.push(...acknowledged.filter((line) => line.startsWith('document ')).map((line) => line.slice('document '.length)));
      const epochs = acknowledged.filter((line) => line.startsWith('epoch ')).map((line) => Number(line.slice('epoch '.length)));

      const store = await openEmbeddedStore({ path: join(path, 'store.db'), log: silentLog });
      const journal = await openEmbeddedJournal({ path: join(path, 'control.db'), log: silentLog });
      const found = await Promise.all(documents.map((id) => store.get(id)));
      expect(documents.filter((_, i) => found[i] === null)).toEqual([]);
      expect(await store.verify()).toEqual([]);
      const [entry] = await journal.load();
      expect(entry?.epoch.generation).toBe(round);
      expect(entry?.epoch.number).toBeGreaterThanOrEqual(epochs.at(-1) ?? 0);
      await Promise.all([store.close(), journal.close()]);
    }
  });
});
