import { join } from 'node:path';
import { createMemoryStore } from '../../src/shared/adapters/store-memory/memory-store.ts';
import { openEmbeddedStore } from '../../src/shared/adapters/store-embedded/embedded-store.ts';
import { silentLog } from '../support/silent-log.ts';
import { tempFolders } from '../support/temp-folder.ts';
import { documentStoreContract } from './document-store.contract.ts';

const folder = tempFolders();

documentStoreContract('memory', async (options) => {
  const store = createMemoryStore(options);
  return { store, close: () => store.close() };
});

documentStoreContract('embedded', async (options) => {
  const store = await openEmbeddedStore({ path: join(folder(), 'store.db'), log: silentLog, ...options });
  return { store, close: () => store.close() };
});
