import type { StoreAddress } from '../../model/store-address.ts';
import { Connection, type ConnectionOptions } from './connection.ts';
import { kvFailure, toHoldfastError } from './failures.ts';
import { inParallel } from './in-parallel.ts';
import { describeAddress } from '../../model/store-address.ts';

export interface ForeignBucket extends ConnectionOptions {
  address: StoreAddress;
}

/** Every document of the default collection of a bucket that another program has written. Reads only. Throws STORE_REFUSED, STORE_UNREACHABLE. */
export async function readForeignDocuments(options: ForeignBucket): Promise<{ id: string; content: unknown }[]> {
  const connection = await Connection.load(options);
  try {
    await connection.ensure();
    const collection = connection.cluster.bucket(options.address.bucket).defaultCollection();
    const found = await collection.scan(new connection.sdk.RangeScan(), { idsOnly: true });
    return await inParallel(found, async ({ id }) => ({ id, content: (await collection.get(id)).content as unknown }));
  } catch (error) {
    throw toHoldfastError(kvFailure(error), describeAddress(options.address));
  } finally {
    await connection.close();
  }
}
