import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs';
import { HoldfastError } from '../../model/errors.ts';
import { fileFailure } from '../sqlite/open.ts';
import { type Database, hasCode, syncDirectoryOf } from '../sqlite/sqlite.ts';

/** Copies an open store into a new, closed file. Never overwrites; a power cut leaves an empty file at worst. */
export function backup(db: Database, toFile: string): void {
  reserve(toFile);
  try {
    copyInto(db, `${toFile}.partial`);
    renameSync(`${toFile}.partial`, toFile);
    syncDirectoryOf(toFile);
  } catch (error) {
    rmSync(`${toFile}.partial`, { force: true });
    rmSync(toFile, { force: true });
    throw fileFailure(toFile, error);
  }
}

function reserve(file: string): void {
  try {
    closeSync(openSync(file, 'wx', 0o600));
  } catch (error) {
    if (!existsSync(file)) throw fileFailure(file, error);
    throw new HoldfastError('INPUT_INVALID', { field: 'file', problem: `${file} exists already` }, { cause: error });
  }
}

/** VACUUM INTO copies one consistent state and leaves out what was deleted. */
export function copyInto(db: Database, file: string): void {
  // A log that a crash left behind would be replayed into the copy.
  for (const former of [file, `${file}-wal`]) rmSync(former, { force: true });
  // Made beforehand, so that nobody else may read it.
  closeSync(openSync(file, 'wx', 0o600));
  try {
    db.query('VACUUM INTO ?', file);
  } catch (error) {
    // SQLite names the source, but it is the target that has no space.
    throw hasCode(error, 'STORE_FULL') ? new HoldfastError('STORE_FULL', { path: file }, { cause: error }) : error;
  }
  const descriptor = openSync(file, 'r+');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
