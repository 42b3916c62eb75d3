import { join, resolve } from 'node:path';
import { driversFolderIn } from './shared/adapters/git/working-copy.ts';
import type { Config } from './shared/model/config.ts';

/** Files of a data directory. */
export const dataFiles = (data: string) => ({
  documents: join(data, 'documents.db'),
  /** Of the documents in a database. */
  copy: join(data, 'documents-copy.db'),
  journal: join(data, 'control.db'),
  credentials: join(data, 'credentials.db'),
  events: join(data, 'events.db'),
  tls: join(data, 'tls'),
  drivers: join(data, 'drivers'),
  backups: join(data, 'backups'),
  adminKey: join(data, 'admin.key'),
});

/** Where own drivers are read from; null: there are none. In a working copy the folder may be missing until something is checked out. */
export function driversFolderOf({ data, drivers, repository }: Config): string | null {
  if (repository !== null) return resolve(driversFolderIn(dataFiles(data).drivers, repository));
  return drivers === null ? null : resolve(drivers);
}
