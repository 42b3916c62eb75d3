import { HoldfastError } from '../../model/errors.ts';
import { describeAddress, type StoreAddress } from '../../model/store-address.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Random } from '../../ports/random.ts';
import { CommitLog } from './commit-log.ts';
import { Connection } from './connection.ts';
import { kvFailure, toHoldfastError, type Trouble } from './failures.ts';
import { checkIndexes, type IndexReport, repairIndexes } from './index-repair.ts';
import { Kv } from './kv.ts';

export interface InspectOptions {
  address: StoreAddress;
  password: string;
  caFile: string | null;
  clock: Clock;
  random: Random;
  signal: AbortSignal;
}

/** `trouble` null: everything that a server does can be done. `index` null: servers are writing, or nothing is stored yet. */
export interface StoreInspection {
  trouble: Trouble | 'sdk' | null;
  problem: string;
  index: IndexReport | null;
}

/** Tries everything that a server needs, and changes nothing. For the doctor: never throws for what it finds. */
export async function inspectStore(options: InspectOptions): Promise<StoreInspection> {
  let reached = false;
  try {
    return await withKv(options, async (kv, log) => {
      reached = true;
      await kv.getOnce('log', 'head');
      for (const collection of ['documents', 'indexes'] as const) await kv.getOnce(collection, 'probe');
      const probe = `probe-${options.random.hex(8)}`;
      await kv.insert('log', probe, {});
      await kv.remove('log', probe, null);
      return { trouble: null, problem: '', index: await checkIndexes(kv, log) };
    });
  } catch (error) {
    if (error instanceof HoldfastError) return { trouble: 'sdk', problem: error.message, index: null };
    const { trouble, message: problem } = kvFailure(error);
    // The SDK goes on looking for a bucket that is not there until the time is over.
    if (reached && trouble === 'away') return { trouble: 'bucket', problem: 'the cluster answers, the bucket does not', index: null };
    return { trouble, problem, index: null };
  }
}

/** `dryRun`: only says what differs. null: servers are writing, or nothing is stored yet. Throws STORE_REFUSED, STORE_UNREACHABLE, CONFIG_INVALID. */
export async function rebuildIndexes(options: InspectOptions, dryRun: boolean): Promise<IndexReport | null> {
  try {
    return await withKv(options, (kv, log) => (dryRun ? checkIndexes(kv, log) : repairIndexes(kv, log)));
  } catch (error) {
    throw error instanceof HoldfastError ? error : toHoldfastError(kvFailure(error), describeAddress(options.address));
  }
}

async function withKv<T>(options: InspectOptions, work: (kv: Kv, log: CommitLog) => Promise<T>): Promise<T> {
  const connection = await Connection.load(options);
  try {
    await connection.ensure();
    const kv = new Kv(connection, options);
    return await work(kv, new CommitLog(kv, options.random));
  } finally {
    await connection.close();
  }
}
