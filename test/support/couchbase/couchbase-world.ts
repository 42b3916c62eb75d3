import type { StoreAddress } from '../../../src/shared/model/store-address.ts';
import { DataNode } from './data-node.ts';
import type { RemoteOptions, RemoteStore, StoreProcess } from './store-process.ts';

/** The stand-in as `holdfast` is set up on it. */
export const holdfastNode = (): DataNode => new DataNode({ collections: ['holdfast.documents', 'holdfast.indexes', 'holdfast-private.log'] });

export const addressOf = (node: DataNode): StoreAddress => ({
  hosts: `127.0.0.1:${node.port}`,
  tls: false,
  user: 'holdfast',
  bucket: 'holdfast',
  scope: 'holdfast',
  durability: 'persist',
});

export const openOn = (process: StoreProcess, node: DataNode, options: Partial<RemoteOptions> = {}): Promise<RemoteStore> =>
  process.open({ address: addressOf(node), password: 'pw-holdfast', ...options });
