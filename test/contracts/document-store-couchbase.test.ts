import { afterAll, beforeAll, expect } from 'vitest';
import { storeAddressSchema } from '../../src/shared/model/store-address.ts';
import { holdfastNode, openOn } from '../support/couchbase/couchbase-world.ts';
import { StoreProcess } from '../support/couchbase/store-process.ts';
import { documentStoreContract, type StoreOptions, type StoreUnderTest } from './document-store.contract.ts';

let process: StoreProcess;
beforeAll(() => {
  process = new StoreProcess();
});
afterAll(() => process.close());

/** With more the stand-in is what is tested. */
const MANY_FOR_THE_STAND_IN = 20_000;

const onStandIn = async (options: StoreOptions): Promise<StoreUnderTest> => {
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
};
documentStoreContract('couchbase, on the stand-in', onStandIn, MANY_FOR_THE_STAND_IN);

// On a real cluster, where somebody has one: docs/couchbase.md.
const { CB_CONNSTR: real, CB_PASSWORD: password = '' } = globalThis.process.env;
if (real !== undefined) {
  let made = 0;
  documentStoreContract('couchbase, on a real cluster', async (options) => {
    const address = { ...storeAddressSchema.parse(real), scope: `contract-${globalThis.process.pid}-${(made += 1)}` };
    await process.scopes('make', { address, password });
    const store = await process.open({ address, password, ...options });
    return {
      store,
      close: async () => {
        await store.close();
        await process.scopes('drop', { address, password });
      },
    };
  });
}
