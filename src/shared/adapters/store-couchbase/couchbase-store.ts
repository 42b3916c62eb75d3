import { setMaxListeners } from 'node:events';
import { backoffMs } from '../../foundation/backoff.ts';
import { BoundedQueue } from '../../foundation/bounded-queue.ts';
import type { AnyDocument } from '../../model/documents.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import { describeAddress, type StoreAddress } from '../../model/store-address.ts';
import type { Clock } from '../../ports/clock.ts';
import type { DocumentStore, FeedHead } from '../../ports/document-store.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Random } from '../../ports/random.ts';
import { type Commit, type CommitDraft, DocumentTable } from '../../runtime/documents/document-table.ts';
import { TableStore } from '../../runtime/documents/table-store.ts';
import { CommitLog, type LoggedCommit } from './commit-log.ts';
import { Connection } from './connection.ts';
import { BeatListener } from './heartbeat.ts';
import { CopyWriter, readCopy } from './local-copy.ts';
import { KvFailure, kvFailure, toHoldfastError } from './failures.ts';
import { Kv } from './kv.ts';
import type { LogHead, Owner } from './layout.ts';
import { readReplicated, readSnapshot, type Snapshot } from './snapshot.ts';
import { type Made, removeOutlived, writeDocuments } from './written-documents.ts';

export interface CouchbaseStoreOptions {
  address: StoreAddress;
  /** Whose documents they are. */
  owner: Owner;
  password: string;
  caFile: string | null;
  clock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
  /** The database is a copy, which replication fills from that of a master: nothing is written. */
  replicated?: boolean;
  /** How long a copy is good without a heartbeat of the master. */
  beatLostMs?: number;
  /** On the disk of this node, for starts without the database; null: such a start waits. Closed with the store. */
  copy: DocumentStore | null;
  /** Documents for a database that has none yet, with the cursor that a replica has reached. */
  fill?: () => Promise<{ documents: AnyDocument[]; cursor: FeedHead | null }>;
  /** Ends the wait for the cluster. */
  signal: AbortSignal;
  /** Removals that the feed remembers. */
  tombstones?: number;
  /** Commits that the log keeps for nodes that are behind. */
  keepCommits?: number;
  /** How long a cluster may refuse, for want of a bucket or a user, before that is an error. */
  setUpMs?: number;
}

export interface CouchbaseStore extends DocumentStore {
  /** Milliseconds since the documents here were known to be those of the database; in a copy, those of its original. */
  readonly ageMs: number;
  /** False: the database does not answer, or nothing is replicated; reads are served from memory, writes are refused. */
  readonly inTouch: boolean;
}

/**
 * Waits for the cluster, then reads everything; starts from the copy where the cluster does not answer and there is one.
 *
 * Throws STORE_REFUSED, CONFIG_INVALID without the SDK, and the reason of the signal.
 */
export async function openCouchbaseStore(options: CouchbaseStoreOptions): Promise<CouchbaseStore> {
  const store = new SharedStore(await Connection.load(options), options);
  try {
    await store.open(options.signal);
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

interface Waiting {
  /** Puts it into the commit. What it throws is for its author alone. */
  plan(draft: CommitDraft): void;
  settle(error: unknown): void;
}

/** Authors that share a commit, and so a write to the disks of the cluster. */
const BATCH = 500;

/**
 * The documents of a federation, shared by its nodes through a log of commits in Couchbase. Every node has all of them in
 * memory, and gets there by the same commits in the same order: what one has stored is what all will read.
 */
class SharedStore extends TableStore implements CouchbaseStore {
  readonly #options: CouchbaseStoreOptions;
  readonly #path: string;
  readonly #connection: Connection;
  readonly #kv: Kv;
  readonly #log: CommitLog;
  readonly #copy: CopyWriter | null;
  readonly #closing = new AbortController();
  readonly #waiting = new BoundedQueue<Waiting>(limits.storeQueue);
  /** The newest commit that the table has. */
  #number = 0;
  /** False: the table is from the copy, or empty. */
  #read = false;
  /** Commits whose documents are not known to be written. `mine`: by this node, which writes them at once. */
  #unwritten: { commit: LoggedCommit; mine: boolean; sinceMs: number }[] = [];
  /** Documents that this node has written, and not yet looked whether they are still wanted. */
  readonly #made: Made = new Map();
  #turn: Promise<unknown> = Promise.resolve();
  #committing: Promise<void> | null = null;
  #writing: Promise<void> | null = null;
  #following: Promise<void> = Promise.resolve();
  #inTouch = true;
  /** Why the database refused last. */
  #refusal: string | null = null;
  #contactMs: number;
  readonly #replicated: boolean;
  readonly #beats: BeatListener;
  /** When this node gave its last heartbeat. */
  #beatMs = -Infinity;

  constructor(connection: Connection, options: CouchbaseStoreOptions) {
    super(new DocumentTable('', options.tombstones ?? limits.storeTombstones));
    this.#options = options;
    this.#path = describeAddress(options.address);
    this.#connection = connection;
    this.#contactMs = options.clock.monotonicMs();
    this.#replicated = options.replicated ?? false;
    this.#beats = new BeatListener(options.clock);
    // Every call that waits for its next attempt listens.
    setMaxListeners(0, this.#closing.signal);
    this.#kv = new Kv(connection, { ...options, signal: this.#closing.signal });
    this.#log = new CommitLog(this.#kv, options.random, this.#replicated);
    this.#copy = options.copy === null ? null : new CopyWriter(options.copy, this.table, options.log);
  }

  get inTouch(): boolean {
    return this.#inTouch;
  }

  get ageMs(): number {
    return this.#inTouch && !this.#replicated ? 0 : this.#options.clock.monotonicMs() - this.#contactMs;
  }

  async open(signal: AbortSignal): Promise<void> {
    const { clock, log, random, copy, setUpMs = limits.storeSetUpMs } = this.#options;
    const since = clock.monotonicMs();
    for (let attempt = 0; ; attempt += 1) {
      signal.throwIfAborted();
      try {
        await this.#reload();
        await this.#fill();
        break;
      } catch (error) {
        if (error instanceof HoldfastError) throw error;
        const failure = kvFailure(error);
        const copied = copy === null ? null : await readCopy(copy);
        if (copied !== null) {
          this.table.load(copied);
          this.#noteFailure(failure);
          log.warn('store.opened-from-copy', { path: this.#path, problem: failure.message, ...this.table.head });
          break;
        }
        // A cluster that is being set up refuses everybody for a moment.
        if (failure.kind === 'refused' && clock.monotonicMs() - since > setUpMs) throw toHoldfastError(failure, this.#path);
        const seconds = Math.round((clock.monotonicMs() - since) / 1_000);
        log.warn('store.waiting', { store: this.#path, problem: failure.message, attempt: attempt + 1, seconds });
        await clock.sleep(backoffMs({ firstMs: 250, maxMs: 5_000, factor: 2, jitter: 0.5 }, attempt, random.next()), signal);
      }
    }
    log.info('store.opened', { path: this.#path, ...this.table.head, took_ms: Math.round(clock.monotonicMs() - since) });
    this.#following = this.#follow();
  }

  async close(): Promise<void> {
    this.listeners.clear();
    // What is committed is safe, and another node would write its documents; this one does it sooner.
    if (this.#inTouch) await Promise.race([this.#writing, this.#options.clock.sleep(limits.storeRequestMs, this.#closing.signal)]);
    this.#closing.abort(new Error('the store is closed'));
    const ending = new HoldfastError('STORE_UNREACHABLE', { path: this.#path, problem: 'the server is shutting down' });
    for (const waiting of this.#waiting.drain()) waiting.settle(ending);
    await Promise.allSettled([this.#following, this.#committing, this.#writing]);
    await this.#connection.close();
    await this.#copy?.close();
  }

  // Writes

  protected commit<T>(plan: (draft: CommitDraft) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#replicated) return reject(new HoldfastError('MASTER_ONLY', { action: 'a change of documents' }));
      // Nobody is made to wait for a database that is known to be gone.
      if (!this.#inTouch) return reject(new HoldfastError('STORE_UNREACHABLE', { path: this.#path, problem: 'it does not answer' }));
      let planned: { result: T } | null = null;
      const waiting: Waiting = {
        plan: (draft) => {
          planned = null;
          planned = { result: plan(draft) };
        },
        settle: (error) => {
          if (error === null && planned !== null) resolve(planned.result);
          else reject(error instanceof KvFailure ? toHoldfastError(error, this.#path) : error);
        },
      };
      const full = this.#unwritten.length >= limits.storeUnwrittenCommits || !this.#waiting.push(waiting);
      if (full) return reject(new HoldfastError('STORE_OVERLOADED', { path: this.#path, limit: limits.storeQueue }));
      this.#committing ??= this.#commitAll();
    });
  }

  async #commitAll(): Promise<void> {
    // Whoever writes in the same turn of the event loop shares the commit.
    await Promise.resolve();
    while (this.#waiting.size > 0) {
      const batch: Waiting[] = [];
      for (let next = this.#waiting.shift(); next !== undefined; next = batch.length < BATCH ? this.#waiting.shift() : undefined) batch.push(next);
      await this.#inTurn(() => this.#commitBatch(batch)).catch((error: unknown) => {
        this.#noteFailure(error);
        for (const waiting of batch) waiting.settle(error);
      });
    }
    this.#committing = null;
  }

  /** Planned on what the table has. Whoever else takes the number first is followed, and the batch planned anew. */
  async #commitBatch(batch: readonly Waiting[]): Promise<void> {
    let looked = false;
    for (;;) {
      const draft = this.table.draft();
      const refusals = batch.map((waiting) => planOne(waiting, draft));
      // What looks like a conflict may be a change of another node that is not known here yet.
      if (!looked && refusals.some((refusal) => refusal !== null)) {
        await this.#takeNew();
        looked = true;
        continue;
      }
      if (!draft.empty) {
        const commit: LoggedCommit = { number: this.#number + 1, nonce: this.#log.nonce(), ...draft.commit };
        const standing = await this.#log.append(this.table.head.generation, commit);
        this.#noteContact();
        this.#take(standing, standing.nonce === commit.nonce);
        if (standing.nonce !== commit.nonce) continue;
      }
      for (const [i, waiting] of batch.entries()) waiting.settle(refusals[i] ?? null);
      return;
    }
  }

  // Following

  async #follow(): Promise<void> {
    const { clock, metrics } = this.#options;
    const { signal } = this.#closing;
    for (let failures = 0; !signal.aborted; ) {
      try {
        await this.#inTurn(() => this.#takeNew());
        await (this.#replicated ? this.#listen() : this.#beat());
        this.#writeSoon();
        failures = 0;
      } catch (error) {
        this.#noteFailure(error);
        failures += 1;
      }
      if (this.#replicated) this.#noteOverdue();
      metrics.set('holdfast_store_age_seconds', {}, this.ageMs / 1_000);
      await clock.sleep(failures === 0 ? limits.storePollMs : Math.min(limits.storePollMs * 2 ** failures, 2_000), signal).catch(() => undefined);
    }
  }

  async #takeNew(): Promise<void> {
    if (!this.#read) return this.#reload();
    for (;;) {
      const { generation } = this.table.head;
      const { head, commit } = await this.#log.look(generation, this.#number + 1);
      this.#noteAnswer();
      // Another history, or so far ahead that the way there is forgotten. In a copy the head may come before its commits.
      const lost = head !== null && commit === null && (this.#replicated ? head.first > this.#number + 1 : head.written > this.#number);
      if (head === null || head.generation !== generation || lost) return this.#reload();
      this.#unwritten = this.#unwritten.filter(({ commit: { number } }) => number > head.written);
      if (commit === null) return;
      this.#take(commit, false);
    }
  }

  #take(commit: LoggedCommit, mine: boolean): void {
    const touched = this.table.commit(commit);
    this.#number = commit.number;
    if (!this.#replicated) this.#unwritten.push({ commit, mine, sinceMs: this.#options.clock.monotonicMs() });
    this.#copy?.add(commit);
    if (touched.size > 0) this.#tell(touched);
    if (mine) this.#writeSoon();
  }

  /** The first node on an empty database brings its documents along. */
  async #fill(): Promise<void> {
    const { fill, log } = this.#options;
    if (fill === undefined || this.#replicated || this.#number > 0) return;
    const { documents, cursor } = await fill();
    if (documents.length === 0) return;
    const draft = this.table.draft();
    draft.apply(documents.map((document) => ({ op: 'put', document, expect: null })));
    const commit: Commit = { ...draft.commit, cursor };
    const standing = await this.#log.append(this.table.head.generation, { number: 1, nonce: this.#log.nonce(), ...commit });
    this.#take(standing, true);
    log.info('store.filled', { path: this.#path, documents: documents.length });
  }

  async #reload(): Promise<void> {
    await this.#connection.ensure();
    const { state, commits, head, problems } = await this.#snapshot();
    for (const problem of problems) this.#options.log.error('store.damaged', { path: this.#path, problem });
    this.table.load(state);
    for (const commit of commits) this.table.commit(commit);
    this.#number = commits.at(-1)?.number ?? head.written;
    this.#read = true;
    this.#copy?.renew();
    const sinceMs = this.#options.clock.monotonicMs();
    this.#unwritten = commits.filter(({ number }) => number > head.written).map((commit) => ({ commit, mine: false, sinceMs }));
    this.#noteAnswer();
    this.#tell(null);
  }

  async #snapshot(): Promise<Snapshot> {
    return this.#replicated ? readReplicated(this.#kv, this.#log) : readSnapshot(this.#kv, this.#log, this.#options.owner);
  }

  #tell(touched: ReadonlySet<string> | null): void {
    for (const listener of this.listeners) {
      try {
        listener(this.table.head, touched);
      } catch (error) {
        // The change is stored: its author must not be told otherwise.
        this.#options.log.error('store.listener-failed', { error });
      }
    }
  }

  // Documents and indexes

  #writeSoon(): void {
    if (this.#replicated || this.#writing !== null || this.#closing.signal.aborted) return;
    const [oldest] = this.#unwritten;
    // Those of a node that has died are left to the others.
    const left = oldest !== undefined && this.#options.clock.monotonicMs() - oldest.sinceMs > limits.storeTakeOverMs;
    if (left || this.#unwritten.some(({ mine }) => mine) || this.#made.size > 0) this.#writing = this.#writeAll();
  }

  async #writeAll(): Promise<void> {
    try {
      while (this.#unwritten.length > 0) {
        const { generation } = this.table.head;
        const commits = this.#unwritten.slice(0, BATCH).map(({ commit }) => commit);
        await writeDocuments(this.#kv, generation, commits, this.#made);
        await this.#advance(generation, commits);
        const last = commits.at(-1)?.number ?? 0;
        this.#unwritten = this.#unwritten.filter(({ commit: { number } }) => number > last);
        this.#refusal = null;
      }
      await this.#removeOutlived();
    } catch (error) {
      // The follower tries again.
      this.#noteFailure(error);
    } finally {
      this.#writing = null;
    }
  }

  /** Whoever removes one after this has looked finds it there, and removes it himself. */
  async #removeOutlived(): Promise<void> {
    if (this.#made.size === 0) return;
    await this.#inTurn(() => this.#takeNew());
    const outlived: Made = new Map([...this.#made].filter(([id]) => (this.table.row(id)?.body ?? null) === null));
    await removeOutlived(this.#kv, this.table.head.generation, outlived);
    this.#made.clear();
  }

  async #advance(generation: string, commits: readonly LoggedCommit[]): Promise<void> {
    const last = commits.at(-1);
    if (last === undefined) return;
    const cursor = commits.findLast((commit) => commit.cursor !== null)?.cursor ?? (await this.#log.head())?.cursor ?? null;
    const to: Omit<LogHead, 'first' | 'owner' | 'location'> = { generation, written: last.number, sequence: last.after + last.changes.length, cursor };
    await this.#log.advance(to, this.#options.keepCommits ?? limits.storeCommits);
  }

  // Contact

  /** For copies of the database of a master, which tell by it how old they are. */
  async #beat(): Promise<void> {
    const { clock, owner } = this.#options;
    if (owner.role !== 'master' || clock.monotonicMs() - this.#beatMs < limits.storeBeatMs) return;
    this.#beatMs = clock.monotonicMs();
    // The look before has said what there is to say of the database.
    await this.#log.beat({ at: clock.wallMs(), generation: this.table.head.generation, number: this.#number }).catch(() => undefined);
  }

  async #listen(): Promise<void> {
    const { head } = this.table;
    this.#options.metrics.set('holdfast_replication_sequence', {}, head.sequence);
    const sinceMs = this.#beats.freshSince(await this.#log.heard(), { generation: head.generation, number: this.#number });
    if (sinceMs !== null) this.#noteContact(sinceMs);
  }

  get #overdue(): boolean {
    return this.#options.clock.monotonicMs() - this.#contactMs > (this.#options.beatLostMs ?? limits.storeBeatLostMs);
  }

  #noteOverdue(): void {
    if (this.#inTouch && this.#overdue) this.#noteFailure(new KvFailure('unreachable', 'nothing is replicated any more: holdfast xdcr status'));
  }

  /** The database answers, which says nothing of how old a copy is. */
  #noteAnswer(): void {
    if (!this.#replicated) this.#noteContact();
  }

  #noteContact(atMs = this.#options.clock.monotonicMs()): void {
    if (this.#closing.signal.aborted) return;
    const { log } = this.#options;
    const seconds = Math.round((atMs - this.#contactMs) / 1_000);
    this.#contactMs = atMs;
    if (this.#inTouch || (this.#replicated && this.#overdue)) return;
    this.#inTouch = true;
    log.info('store.back', { path: this.#path, seconds });
  }

  #noteFailure(error: unknown): void {
    if (this.#closing.signal.aborted) return;
    const { kind, message: problem } = kvFailure(error);
    // It answers.
    if (kind === 'refused' || kind === 'full') {
      // Said once, for it is tried again all the time.
      if (problem !== this.#refusal) this.#options.log.error('store.refused', { path: this.#path, problem });
      this.#refusal = problem;
      return;
    }
    if (!this.#inTouch) return;
    this.#inTouch = false;
    this.#options.log.error('store.lost', { path: this.#path, problem });
  }

  /** One at a time changes the table. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}

function planOne(waiting: Waiting, draft: CommitDraft): HoldfastError | null {
  try {
    waiting.plan(draft);
    return null;
  } catch (error) {
    if (error instanceof HoldfastError) return error;
    throw error;
  }
}
