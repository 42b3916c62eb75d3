import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { IndexReport } from '../../../src/shared/adapters/store-couchbase/index-repair.ts';
import type { StoreInspection } from '../../../src/shared/adapters/store-couchbase/inspect-store.ts';
import { fromWire, type WireError } from '../../../src/shared/model/errors.ts';
import type { StoreAddress } from '../../../src/shared/model/store-address.ts';
import type { CommitListener, DocumentStore, FeedHead } from '../../../src/shared/ports/document-store.ts';

/** What a store in the child is opened with. */
export interface RemoteOptions {
  address: StoreAddress;
  password: string;
  owner?: { role: 'master' | 'edge'; location: string | null };
  replicated?: boolean;
  beatLostMs?: number;
  tombstones?: number;
  keepCommits?: number;
  setUpMs?: number;
  /** File of a copy on the disk. */
  copyPath?: string;
}

export interface LoggedLine {
  level: string;
  event: string;
  facts: Record<string, unknown>;
}

export interface RemoteStore extends DocumentStore {
  readonly log: LoggedLine[];
  contact(): Promise<{ inTouch: boolean; ageMs: number }>;
}

interface Message {
  id?: number;
  result?: unknown;
  /** A text: it is no operating error. */
  error?: WireError | string;
  store?: string;
  log?: LoggedLine;
  change?: { head: FeedHead; touched: string[] | null };
}

/** A process with the real SDK in it. */
export class StoreProcess {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (message: Message) => void>();
  /** What its stores have logged. */
  readonly log: LoggedLine[] = [];
  readonly #stores = new Map<string, { listeners: Set<CommitListener>; log: LoggedLine[] }>();
  readonly #open = new Set<RemoteStore>();
  #last = 0;
  #exit: string | null = null;

  constructor() {
    this.#child = fork(fileURLToPath(new URL('store-child.mjs', import.meta.url)), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.on('message', (message: Message) => this.#on(message));
    this.#child.once('exit', (code, signal) => {
      this.#exit = `the process with the SDK has ended: ${signal ?? code}`;
      for (const settle of this.#waiting.values()) settle({ error: this.#exit });
      this.#waiting.clear();
    });
  }

  /** False: it has died, which nothing that it is sent or told may bring about. */
  get alive(): boolean {
    return this.#exit === null;
  }

  async open(options: RemoteOptions): Promise<RemoteStore> {
    const name = `store-${(this.#last += 1)}`;
    const known = { listeners: new Set<CommitListener>(), log: [] };
    this.#stores.set(name, known);
    await this.#call(name, 'open', [options]);
    // The child answers with what the store of the same name and method gives.
    const call = (method: string, ...args: unknown[]): Promise<never> => this.#call(name, method, args) as Promise<never>;
    const store: RemoteStore = {
      log: known.log,
      contact: () => call('contact'),
      get: (id) => call('get', id),
      list: (kind, page) => call('list', kind, page),
      apply: (changes) => call('apply', changes),
      systemsOf: (location) => call('systemsOf', location),
      modulesOf: (location) => call('modulesOf', location),
      head: () => call('head'),
      changesSince: (cursor, limit) => call('changesSince', cursor, limit),
      applyFeed: (entries, cursor) => call('applyFeed', entries, cursor),
      replaceAll: (documents, cursor) => call('replaceAll', documents, cursor),
      cursor: () => call('cursor'),
      close: async () => {
        this.#open.delete(store);
        await call('close');
      },
      onChange: (listener) => {
        known.listeners.add(listener);
        return () => known.listeners.delete(listener);
      },
    };
    this.#open.add(store);
    return store;
  }

  /** Makes or drops the scopes of a store in a real cluster. */
  async scopes(method: 'make' | 'drop', options: RemoteOptions): Promise<void> {
    await this.#call('', method, [options]);
  }

  /** What the process has cost so far, with the threads of the SDK. */
  processorMs(): Promise<number> {
    return this.#call('', 'processor', []) as Promise<number>;
  }

  inspect(options: RemoteOptions): Promise<StoreInspection> {
    return this.#call('', 'inspect', [options]) as Promise<StoreInspection>;
  }

  rebuild(options: RemoteOptions, dryRun: boolean): Promise<IndexReport | null> {
    return this.#call('', 'rebuild', [options, dryRun]) as Promise<IndexReport | null>;
  }

  /** Those that were not closed. */
  async closeStores(): Promise<void> {
    await Promise.allSettled([...this.#open].map((store) => store.close()));
  }

  async close(): Promise<void> {
    if (this.#exit !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.disconnect();
    await ended;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #call(store: string, method: string, args: unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = (this.#last += 1);
      this.#waiting.set(id, ({ result, error }) => {
        if (error === undefined) resolve(result);
        else reject(typeof error === 'string' ? new Error(error) : fromWire(error));
      });
      if (this.#exit !== null) return this.#on({ id, error: this.#exit });
      this.#child.send({ id, store, method, args });
    });
  }

  #on(message: Message): void {
    const { id, store, log, change } = message;
    if (id !== undefined) {
      this.#waiting.get(id)?.(message);
      this.#waiting.delete(id);
      return;
    }
    const known = this.#stores.get(store ?? '');
    if (log !== undefined) {
      known?.log.push(log);
      this.log.push(log);
    }
    if (change !== undefined) for (const listener of known?.listeners ?? []) listener(change.head, change.touched === null ? null : new Set(change.touched));
  }
}
