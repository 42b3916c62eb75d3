import { openDatabase } from '../sqlite/open.ts';
import { serveEngine } from '../sqlite/serve.ts';
import { checksum, type Database } from '../sqlite/sqlite.ts';
import { type CredentialRow, credentialRows, credentialsFile } from './file-kind.ts';

/** Entry of the thread that owns the file of the credentials. */

export type CredentialsEngine = ReturnType<typeof credentialsEngine>;

function credentialsEngine(db: Database) {
  const find = db.prepare<CredentialRow>('SELECT key, value FROM credentials WHERE key = ?');
  const upsert = db.prepare('INSERT OR REPLACE INTO credentials (key, value, checksum) VALUES (?, ?, ?)');
  const remove = db.prepare('DELETE FROM credentials WHERE key = ?');
  const set = (key: string, value: string | null): void => {
    if (value === null) remove.run(key);
    else upsert.run(key, value, checksum(key, value));
  };
  return {
    reads: { load: (): [string, string][] => credentialRows(db).map(({ key, value }) => [key, value]) },
    writes: {
      set,
      compareAndSet: (key: string, expected: string | null, value: string | null): boolean => {
        if ((find.get(key)?.value ?? null) !== expected) return false;
        set(key, value);
        return true;
      },
    },
  };
}

serveEngine((path) => {
  const db = openDatabase(path, credentialsFile);
  return { db, engine: credentialsEngine(db) };
});
