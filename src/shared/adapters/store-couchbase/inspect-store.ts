import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
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
  /** The database is a copy, which replication fills from that of a master. */
  replicated?: boolean;
  /** How long a heartbeat may take. */
  beatLostMs?: number;
}

/** `trouble` null: everything that a server does can be done. `index` null: servers are writing, or nothing is stored yet. */
export interface StoreInspection {
  trouble: Trouble | 'sdk' | 'replication' | null;
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
      if (options.replicated === true) return await inspectReplication(log, options);
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

/** In a copy nothing is tried that writes. It is alive when a heartbeat of the master arrives. */
async function inspectReplication(log: CommitLog, { clock, signal, beatLostMs = limits.storeBeatLostMs }: InspectOptions): Promise<StoreInspection> {
  const stuck = (problem: string): StoreInspection => ({ trouble: 'replication', problem, index: null });
  const head = await log.head();
  if (head === null) return stuck('nothing was ever replicated to it');
  if (head.owner !== 'master') return { trouble: 'scope', problem: 'its documents were written by an edge, not replicated', index: null };
  const first = await log.heard();
  const end = clock.monotonicMs() + beatLostMs;
  while (clock.monotonicMs() < end) {
    await clock.sleep(limits.storePollMs, signal);
    const heard = await log.heard();
    if (heard !== null && heard.at !== first?.at) return { trouble: null, problem: '', index: null };
  }
  const last = first === null ? 'no heartbeat of the master was ever replicated' : `the last heartbeat of the master is of ${new Date(first.at).toISOString()}`;
  return stuck(`nothing is replicated to it any more: ${last}`);
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
