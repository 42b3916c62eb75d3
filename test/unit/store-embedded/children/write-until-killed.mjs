// Writes documents and journal entries as fast as it can, and prints each when it is acknowledged.
import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { openEmbeddedJournal } from '../../../../dist/shared/adapters/journal-embedded/embedded-journal.js';
import { openEmbeddedStore } from '../../../../dist/shared/adapters/store-embedded/embedded-store.js';
import { moduleSchema } from '../../../../dist/shared/model/documents.js';

const [folder, round] = [process.argv[2], process.argv[3]];
const ignore = () => undefined;
const log = { debug: ignore, info: ignore, warn: ignore, error: ignore, child: () => log };
const terms = { failover: true, policy: 'available', timeoutMs: 20_000, paused: false };

const store = await openEmbeddedStore({ path: join(folder, 'store.db'), log });
const journal = await openEmbeddedJournal({ path: join(folder, 'control.db'), log });

async function writeDocuments(writer) {
  for (let i = 0; ; i += 1) {
    const id = `mod-${round}-${writer}-${i}`;
    const document = moduleSchema.parse({ id, type: 'mod', driver_id: 'driver-mock', name: 'Display', notes: 'x'.repeat(i % 3_000) });
    await store.apply([{ op: 'put', document, expect: null }]);
    writeSync(1, `document ${id}\n`);
  }
}

async function writeEpochs() {
  for (let number = 2; ; number += 2) {
    const epoch = { generation: Number(round), number };
    await journal.write({ location: 'edge-1', epoch, floor: epoch, holder: 'edge', reason: 'test', sinceMs: 0, terms });
    writeSync(1, `epoch ${number}\n`);
  }
}

await Promise.all([writeEpochs(), ...Array.from({ length: 8 }, (_, writer) => writeDocuments(writer))]);
