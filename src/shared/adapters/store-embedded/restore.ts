import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { checkKind, damage, damaged, fileFailure, lock, openAsItIs, openDatabase } from '../sqlite/open.ts';
import { type Database, hasCode, syncDirectoryOf } from '../sqlite/sqlite.ts';
import { copyInto } from './backup.ts';
import { allRows, storeFile } from './file-kind.ts';
import { metaOf } from './meta.ts';
import { documentProblems } from './parse.ts';

/** Everything that is wrong with a store or a backup that no process has open; empty when sound. */
export function verifyStore(path: string): string[] {
  if (!existsSync(path)) return [`there is no file ${path}`];
  let db: Database | null = null;
  try {
    db = openAsItIs(path);
    checkKind(db, storeFile);
    return [...damage(db, storeFile), ...documentProblems(allRows(db))];
  } catch (error) {
    if (!hasCode(error, 'STORE_DAMAGED')) throw error;
    const { problem } = error.facts;
    return [typeof problem === 'string' ? problem : error.message];
  } finally {
    db?.close();
  }
}

/**
 * Puts a backup in the place of a store that no process has open, or where none is. The feed gets a new generation,
 * so that replicas take a snapshot. A power cut leaves either the old store or the restored one.
 */
export function restoreStore(backupFile: string, dataPath: string): void {
  const [problem] = verifyStore(backupFile);
  if (problem !== undefined) throw damaged(backupFile, problem);
  const fresh = `${dataPath}.restore`;
  let former: Database | null = null;
  try {
    mkdirSync(dirname(dataPath), { recursive: true, mode: 0o700 });
    former = lockFormer(dataPath);
    copyWithNewGeneration(backupFile, fresh);
    former = emptyLog(former);
    // A log that is left over belongs to a damaged store; SQLite would replay it into the new file.
    rmSync(`${dataPath}-wal`, { force: true });
    syncDirectoryOf(dataPath);
    renameSync(fresh, dataPath);
    syncDirectoryOf(dataPath);
  } catch (error) {
    for (const file of [fresh, `${fresh}-wal`]) rmSync(file, { force: true });
    throw fileFailure(dataPath, error);
  } finally {
    former?.close();
  }
}

function copyWithNewGeneration(backupFile: string, fresh: string): void {
  const source = openAsItIs(backupFile);
  try {
    copyInto(source, fresh);
  } finally {
    source.close();
  }
  const copy = openDatabase(fresh, storeFile);
  try {
    copy.transaction(() => metaOf(copy).newGeneration());
  } finally {
    copy.close();
  }
}

/** Keeps every process out of the store that is about to be replaced. One that is damaged cannot be in use: null. */
function lockFormer(path: string): Database | null {
  if (!existsSync(path)) return null;
  try {
    return lock(path);
  } catch (error) {
    if (hasCode(error, 'STORE_DAMAGED')) return null;
    throw error;
  }
}

/** Moves the log into the file, so that the file is whole without it. Impossible in a damaged one: null. */
function emptyLog(former: Database | null): Database | null {
  try {
    former?.exec('PRAGMA journal_mode = DELETE');
    return former;
  } catch (error) {
    if (!hasCode(error, 'STORE_DAMAGED')) throw error;
    // Closed before the rename: closing removes the log by its name, which must not be that of the new store.
    former?.close();
    return null;
  }
}
