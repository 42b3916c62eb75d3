import { afterAll, beforeAll, expect } from 'vitest';
import { holdfastNode, openOn } from '../support/couchbase/couchbase-world.ts';
import { StoreProcess } from '../support/couchbase/store-process.ts';
import { documentStoreContract } from './document-store.contract.ts';

let process: StoreProcess;
beforeAll(() => {
  process = new StoreProcess();
});
afterAll(() => process.close());

documentStoreContract('couchbase, on the stand-in', async (options) => {
  const node = holdfastNode();
  await node.start();
  const store = await openOn(process, node, options);
  return {
    store,
    close: async () => {
      await store.close();
      await node.stop();
      expect(node.unknown).toEqual([]);
    },
  };
});
