import { chmodSync, existsSync, linkSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
import { HoldfastError } from '../../model/errors.ts';
import { Database, hasCode, syncDirectoryOf } from './sqlite.ts';

/** What a kind of file holds. `applicationId` tells our files from those of others, and one kind from another. */
export interface FileKind {
  applicationId: number;
  /** Raised when `schema` changes. */
  version: number;
  /** What an empty file of this kind is made with. */
  schema: string;
  /** What makes of a file of a former version, by its number, one of the next. */
  upgrades?: Readonly<Record<number, string>>;
  /** Damage that SQLite itself does not see, such as a wrong checksum. Empty: none. */
  problems(db: Database): string[];
}

export interface OpenOptions {
  /** Largest size of the file in pages of 4 KiB; a write beyond it is refused as on a full disk. */
  maxPages?: number | null;
}

const SQL_ERROR = 1;

/** The log is moved into the file when it has this many pages of 4 KiB, which costs two more syncs. */
const LOG_PAGES = 4_000;

/**
 * Opens the file for this process alone, and makes it if it is not there.
 *
 * Throws STORE_BUSY when another process has it, STORE_DAMAGED, STORE_FULL, STORE_FAILED.
 */
export function openDatabase(path: string, kind: FileKind, options: OpenOptions = {}): Database {
  if (!existsSync(path)) create(path, kind);
  const db = lock(path);
  try {
    // Every commit is synced: what was acknowledged survives a power cut.
    db.exec('PRAGMA synchronous = FULL');
    useLog(db);
    db.exec(`PRAGMA wal_autocheckpoint = ${LOG_PAGES}; PRAGMA journal_size_limit = ${LOG_PAGES * 4_096}`);
    if (typeof options.maxPages === 'number') db.exec(`PRAGMA max_page_count = ${options.maxPages}`);
    upgrade(db, kind);
    checkKind(db, kind);
    const [problem] = damage(db, kind);
    if (problem !== undefined) throw damaged(path, problem);
    return db;
  } catch (error) {
    db.close();
    throw isWrongSchema(error) ? damaged(path, error.message) : error;
  }
}

/** On a full disk the file stays in its slower, equally safe mode: what is in it can be read, and a node can start. */
function useLog(db: Database): void {
  try {
    db.exec('PRAGMA journal_mode = WAL');
  } catch (error) {
    if (!hasCode(error, 'STORE_FULL')) throw error;
  }
}

/** A table or column of ours that is not there, while the file says that it is of this kind and version. */
function isWrongSchema(error: unknown): error is HoldfastError {
  const cause = error instanceof HoldfastError ? error.cause : null;
  return cause instanceof Error && 'errcode' in cause && cause.errcode === SQL_ERROR;
}

/** Opens a file as it is and keeps every other process out until closed. */
export function lock(path: string): Database {
  // A file is never empty once it has its name (see `create`), and SQLite would take it for a new one.
  if (statSync(path).size === 0) throw damaged(path, 'the file is empty');
  const db = new Database(path);
  try {
    // In this mode the lock is held from the first access until the connection closes, by the operating system.
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA cell_size_check = ON; BEGIN EXCLUSIVE; COMMIT');
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** A backup may lie on a read-only disk, where it cannot be locked and nobody can write to it. */
export function openAsItIs(path: string): Database {
  try {
    return lock(path);
  } catch (error) {
    if (!hasCode(error, 'STORE_FAILED')) throw error;
    return new Database(path, { readOnly: true });
  }
}

/** What `read` finds in a file that no process has open, once it is seen to be sound. Throws STORE_BUSY, STORE_DAMAGED, STORE_FAILED. */
export function inspectDatabase<T>(path: string, kind: FileKind, read: (db: Database) => T): T {
  const db = openAsItIs(path);
  try {
    checkKind(db, kind);
    const [problem] = damage(db, kind);
    if (problem !== undefined) throw damaged(path, problem);
    return read(db);
  } finally {
    db.close();
  }
}

function upgrade(db: Database, kind: FileKind): void {
  if (!isOfKind(db, kind)) return;
  for (let version = versionOf(db); version < kind.version; version += 1) {
    const change = kind.upgrades?.[version];
    if (change === undefined) return;
    db.transaction(() => db.exec(`${change}; PRAGMA user_version = ${version + 1}`));
  }
}

/** Refuses a file of another kind, or of a newer version of the program. */
export function checkKind(db: Database, kind: FileKind): void {
  if (!isOfKind(db, kind)) throw damaged(db.path, 'it is not a file of this kind');
  const version = versionOf(db);
  if (version === kind.version) return;
  const problem = `it has format ${version}, and this version of Holdfast reads format ${kind.version}`;
  throw new HoldfastError('STORE_FAILED', { path: db.path, problem });
}

const isOfKind = (db: Database, kind: FileKind): boolean =>
  db.query<{ application_id: number }>('PRAGMA application_id')[0]?.application_id === kind.applicationId;

const versionOf = (db: Database): number => db.query<{ user_version: number }>('PRAGMA user_version')[0]?.user_version ?? 0;

/** What is wrong inside the file; empty when sound. */
export function damage(db: Database, kind: FileKind): string[] {
  const found = db.query<{ integrity_check: string }>('PRAGMA integrity_check(20)').map((row) => row.integrity_check);
  return found.length === 1 && found[0] === 'ok' ? kind.problems(db) : found;
}

export const damaged = (path: string, problem: string): HoldfastError =>
  new HoldfastError('STORE_DAMAGED', { path, problem });

/** Under another name first: a power cut leaves no half-made file, and an empty one is always damage. */
function create(path: string, kind: FileKind): void {
  if (existsSync(`${path}-wal`)) {
    // SQLite would replay the old log into the new file.
    throw damaged(path, `the file is gone but its log ${path}-wal is there; to start empty, delete that as well`);
  }
  const fresh = `${path}.${randomBytes(4).toString('hex')}.new`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeSchema(fresh, kind);
    chmodSync(fresh, 0o600);
    linkSync(fresh, path);
    syncDirectoryOf(path);
  } catch (error) {
    // Another process made it at the same moment: then `lock` decides who may use it.
    if (errorCode(error) !== 'EEXIST') throw fileFailure(path, error);
  } finally {
    rmSync(fresh, { force: true });
    rmSync(`${fresh}-journal`, { force: true });
  }
}

function writeSchema(path: string, kind: FileKind): void {
  const db = new Database(path);
  try {
    db.exec(`PRAGMA synchronous = FULL; BEGIN; ${kind.schema};
      PRAGMA application_id = ${kind.applicationId}; PRAGMA user_version = ${kind.version}; COMMIT`);
  } finally {
    db.close();
  }
}

const errorCode = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined);

/** What the file system threw, as an operating error. */
export function fileFailure(path: string, error: unknown): unknown {
  if (error instanceof HoldfastError || !(error instanceof Error) || typeof errorCode(error) !== 'string') return error;
  if (errorCode(error) === 'ENOSPC') return new HoldfastError('STORE_FULL', { path }, { cause: error });
  return new HoldfastError('STORE_FAILED', { path, problem: error.message }, { cause: error });
}
