import type { FileKind } from '../sqlite/open.ts';
import { checksum, type Database } from '../sqlite/sqlite.ts';

export const credentialsFile: FileKind = {
  applicationId: 0x48_46_43_52,
  version: 1,
  schema: `
    CREATE TABLE credentials (key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL)
      STRICT, WITHOUT ROWID`,
  problems: (db) =>
    credentialRows(db)
      .filter((row) => row.checksum !== checksum(row.key, row.value))
      .map((row) => `credential ${row.key}: its checksum is wrong`),
};

export interface CredentialRow {
  key: string;
  value: string;
}

export const credentialRows = (db: Database): (CredentialRow & { checksum: number })[] => db.query('SELECT key, value, checksum FROM credentials');
