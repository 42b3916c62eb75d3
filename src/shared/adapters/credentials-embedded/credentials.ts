import { SqlThread, threadEntry } from '../sqlite/sql-thread.ts';
import type { CredentialsEngine } from './credentials-thread.ts';

/**
 * A small node-local store for what must never be replicated: verifiers, one-time tokens, the node's own secret.
 * Everything is in memory for reading; a change is durable, and visible, when its promise resolves.
 */
export interface Credentials {
  get(key: string): string | null;
  set(key: string, value: string): Promise<void>;
  delete(key: string): Promise<void>;
  /** Changes the value only if it is `expected` (null: absent); a `value` of null deletes. False: it was another. */
  compareAndSet(key: string, expected: string | null, value: string | null): Promise<boolean>;
  close(): Promise<void>;
}

/** Opens the file (mode 0600) for this process alone. Throws STORE_BUSY, STORE_DAMAGED, STORE_FULL, STORE_FAILED. */
export async function openCredentials({ path }: { path: string }): Promise<Credentials> {
  const thread = await SqlThread.start<CredentialsEngine>(path, threadEntry(import.meta.url, 'credentials-thread'), null);
  const values = new Map(await thread.read('load'));
  const keep = (key: string, value: string | null): void => {
    if (value === null) values.delete(key);
    else values.set(key, value);
  };
  const set = async (key: string, value: string | null): Promise<void> => {
    await thread.write('set', key, value);
    keep(key, value);
  };
  return {
    get: (key) => values.get(key) ?? null,
    set,
    delete: (key) => set(key, null),
    compareAndSet: async (key, expected, value) => {
      const done = await thread.write('compareAndSet', key, expected, value);
      if (done) keep(key, value);
      return done;
    },
    close: () => thread.close(),
  };
}
