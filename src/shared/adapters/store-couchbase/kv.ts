import type { Cas, Collection } from 'couchbase';
import type { StoreAddress } from '../../model/store-address.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Random } from '../../ports/random.ts';
import { backoffMs } from '../../foundation/backoff.ts';
import type { Connection } from './connection.ts';
import { type KvFailure, kvFailure } from './failures.ts';
import { type CollectionName, collections, scopeOf } from './layout.ts';

/** A document with the version that a write may require. The SDK makes versions; none is ever made of a text. */
export interface Read {
  content: unknown;
  cas: Cas;
}

export type PathChange = { path: string; value: unknown } | { path: string; remove: true };

/** How long a call may go on with repetitions, in milliseconds. */
const PATIENCE_MS = limits.storeCallMs;

/**
 * Documents by key. Each call repeats what failed for a moment, with pauses, and then throws a KvFailure. A repeated write
 * finds what the first one did: `insert` and `replace` say false then, and the caller reads and compares.
 */
export class Kv {
  readonly #connection: Connection;
  readonly #address: StoreAddress;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #signal: AbortSignal;

  constructor(connection: Connection, { address, clock, random, signal }: { address: StoreAddress; clock: Clock; random: Random; signal: AbortSignal }) {
    this.#connection = connection;
    this.#address = address;
    this.#clock = clock;
    this.#random = random;
    this.#signal = signal;
  }

  /** null: there is none. */
  get(collection: CollectionName, key: string): Promise<Read | null> {
    return this.#repeat(() => this.getOnce(collection, key));
  }

  /** The same, without repetitions. */
  async getOnce(collection: CollectionName, key: string): Promise<Read | null> {
    try {
      const { content, cas } = await this.#of(collection).get(key);
      return { content: content as unknown, cas };
    } catch (error) {
      if (isNamed(error, 'DocumentNotFoundError')) return null;
      throw kvFailure(error);
    }
  }

  /** False: the key is taken, perhaps by an attempt of this very call. */
  insert(collection: CollectionName, key: string, content: unknown): Promise<boolean> {
    return this.#write((of) => of.insert(key, content, this.#durability), collection, 'DocumentExistsError');
  }

  /** False: it is another version by now, perhaps by an attempt of this very call, or it is gone. */
  replace(collection: CollectionName, key: string, content: unknown, cas: Cas): Promise<boolean> {
    return this.#write((of) => of.replace(key, content, { cas, ...this.#durability }), collection, 'CasMismatchError', 'DocumentNotFoundError');
  }

  /** False: the same. */
  remove(collection: CollectionName, key: string, cas: Cas | null): Promise<boolean> {
    const options = { ...(cas === null ? {} : { cas }), ...this.#durability };
    return this.#write((of) => of.remove(key, options), collection, 'CasMismatchError', 'DocumentNotFoundError');
  }

  /** Changes paths of a document of this version; null: makes it, or changes it whatever its version is. Null: it is another version. */
  async mutate(collection: CollectionName, key: string, changes: readonly PathChange[], cas: Cas | null): Promise<Cas | null> {
    const { MutateInSpec, StoreSemantics } = this.#connection.sdk;
    const specs = changes.map((change) => ('remove' in change ? MutateInSpec.remove(change.path) : MutateInSpec.upsert(change.path, change.value)));
    const options = cas === null ? { storeSemantics: StoreSemantics.Upsert } : { cas };
    let made: Cas | null = null;
    const done = await this.#write(
      async (of) => {
        made = (await of.mutateIn(key, specs, { ...options, ...this.#durability })).cas;
      },
      collection,
      'CasMismatchError',
      'DocumentNotFoundError',
      'PathNotFoundError',
    );
    return done ? made : null;
  }

  /** Every key of a collection, by a scan. For repairs alone: it reads all of it. */
  async keys(collection: CollectionName): Promise<string[]> {
    const { RangeScan } = this.#connection.sdk;
    const found = await this.#of(collection)
      .scan(new RangeScan(), { idsOnly: true })
      .catch((error: unknown) => {
        throw kvFailure(error);
      });
    return found.map(({ id }) => id);
  }

  get #durability(): { durabilityLevel: number } | Record<string, never> {
    const { DurabilityLevel } = this.#connection.sdk;
    const levels = { none: DurabilityLevel.None, majority: DurabilityLevel.Majority, persist: DurabilityLevel.PersistToMajority };
    const level = levels[this.#address.durability];
    return level === DurabilityLevel.None ? {} : { durabilityLevel: level };
  }

  #of(collection: CollectionName): Collection {
    const { bucket, scope } = this.#address;
    return this.#connection.cluster.bucket(bucket).scope(scopeOf(collection, scope)).collection(collections[collection]);
  }

  async #write(work: (collection: Collection) => Promise<unknown>, collection: CollectionName, ...no: string[]): Promise<boolean> {
    return this.#repeat(async () => {
      try {
        await work(this.#of(collection));
        return true;
      } catch (error) {
        if (no.some((name) => isNamed(error, name))) return false;
        throw kvFailure(error);
      }
    });
  }

  async #repeat<T>(work: () => Promise<T>): Promise<T> {
    const end = this.#clock.monotonicMs() + PATIENCE_MS;
    let uncertain: KvFailure | null = null;
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await work();
      } catch (error) {
        const failure = kvFailure(error);
        if (failure.kind === 'uncertain') uncertain = failure;
        const pause = backoffMs({ firstMs: 20, maxMs: 400, factor: 2, jitter: 1 }, attempt, this.#random.next());
        const over = this.#clock.monotonicMs() + pause >= end || this.#signal.aborted;
        // One attempt that may have been done is not undone by the next that was not.
        if (failure.kind === 'refused' || failure.kind === 'full' || over) throw uncertain ?? failure;
        await this.#clock.sleep(pause, this.#signal).catch(() => undefined);
      }
    }
  }
}

const isNamed = (error: unknown, name: string): boolean => error instanceof Error && error.name === name;
