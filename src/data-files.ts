import { join } from 'node:path';

/** Files of a data directory. */
export const dataFiles = (data: string) => ({
  documents: join(data, 'documents.db'),
  /** Of the documents in a database. */
  copy: join(data, 'documents-copy.db'),
  journal: join(data, 'control.db'),
  credentials: join(data, 'credentials.db'),
  events: join(data, 'events.db'),
  tls: join(data, 'tls'),
  backups: join(data, 'backups'),
  adminKey: join(data, 'admin.key'),
});
