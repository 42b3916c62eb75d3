import { closeSync, fsyncSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { HoldfastError, type ErrorCode } from '../../model/errors.ts';

/**
 * The one place that knows which SQLite we run on. "An adapter never imports an adapter" has this one exception:
 * this folder is a shim over a vendor, no adapter of a port, and the embedded store, journal and credentials share it.
 *
 * Trap: never open or close a database file with `node:fs` in a process that has it open in SQLite: POSIX drops the
 * locks of the whole process when any descriptor of the file is closed.
 */

export type SqlValue = null | number | string;

interface VendorStatement {
  run(...values: SqlValue[]): { changes: number | bigint };
  get(...values: SqlValue[]): unknown;
  all(...values: SqlValue[]): unknown[];
}
interface VendorDatabase {
  readonly isTransaction: boolean;
  exec(sql: string): void;
  prepare(sql: string): VendorStatement;
  close(): void;
}
type Vendor = { DatabaseSync: new (path: string, options: { readOnly: boolean }) => VendorDatabase };

/** `node:sqlite` where Node has it in a finished form, else the same API and the same file format from a package. */
async function loadVendor(): Promise<Vendor> {
  const builtIn = Number(process.versions.node.split('.')[0]) >= 24;
  // The types of Node 20 do not know node:sqlite, so the import goes by a variable; both modules have this one class.
  const name: string = builtIn ? 'node:sqlite' : '@photostructure/sqlite';
  return (await import(name)) as Vendor;
}
const vendor = await loadVendor();

/** A prepared statement. Tables are STRICT, so the columns of `Row` have the types that the schema says. */
export interface Statement<Row> {
  /** Number of rows changed. */
  run(...values: SqlValue[]): number;
  get(...values: SqlValue[]): Row | undefined;
  all(...values: SqlValue[]): Row[];
}

/** A connection that throws HoldfastErrors and gives its lock back when closed. */
export class Database {
  readonly path: string;
  readonly #vendor: VendorDatabase;

  constructor(path: string, options: { readOnly: boolean } = { readOnly: false }) {
    this.path = path;
    this.#vendor = failures(path, () => new vendor.DatabaseSync(path, options));
  }

  get isTransaction(): boolean {
    return this.#vendor.isTransaction;
  }

  exec(sql: string): void {
    failures(this.path, () => this.#vendor.exec(sql));
  }

  prepare<Row = never>(sql: string): Statement<Row> {
    const { path } = this;
    const statement = failures(path, () => this.#vendor.prepare(sql));
    return {
      run: (...values) => Number(failures(path, () => statement.run(...values)).changes),
      get: (...values) => failures(path, () => statement.get(...values)) as Row | undefined,
      all: (...values) => failures(path, () => statement.all(...values)) as Row[],
    };
  }

  /** Runs a query once. */
  query<Row>(sql: string, ...values: SqlValue[]): Row[] {
    return this.prepare<Row>(sql).all(...values);
  }

  transaction<T>(work: () => T): T {
    this.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.exec('COMMIT');
      return result;
    } catch (error) {
      this.rollback();
      throw error;
    }
  }

  /** SQLite has ended the transaction by itself after some failures, such as a full disk. */
  rollback(): void {
    if (this.isTransaction) this.exec('ROLLBACK');
  }

  /**
   * Moves the log into the file and gives back the lock. Done by hand, because the package keeps both until the last
   * statement is garbage collected.
   */
  close(): void {
    try {
      this.exec('PRAGMA journal_mode = DELETE; PRAGMA locking_mode = NORMAL; SELECT 1 FROM sqlite_schema LIMIT 1');
    } catch {
      // Damaged, or no space for it: the log stays where it is for the next one to open the file.
    }
    this.#vendor.close();
  }
}

function failures<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw sqliteFailure(path, error);
  }
}

const BUSY = 5;
const LOCKED = 6;
const CORRUPT = 11;
const FULL = 13;
const NOT_A_DATABASE = 26;

/** The package loses the code of an error that comes up while rows are read, but not SQLite's own text for it. */
const codesByText: Record<string, number | undefined> = {
  'database is locked': BUSY,
  'database disk image is malformed': CORRUPT,
  'database or disk is full': FULL,
  'file is not a database': NOT_A_DATABASE,
};

/** What SQLite threw, as an operating error; anything else is a bug and comes back as it is. */
function sqliteFailure(path: string, error: unknown): unknown {
  if (!(error instanceof Error) || !('code' in error) || error.code !== 'ERR_SQLITE_ERROR') return error;
  const code = 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 0xff : undefined;
  const options = { cause: error };
  switch (code ?? codesByText[error.message] ?? 0) {
    case BUSY:
    case LOCKED:
      return new HoldfastError('STORE_BUSY', { path }, options);
    case FULL:
      return new HoldfastError('STORE_FULL', { path }, options);
    case CORRUPT:
    case NOT_A_DATABASE:
      return new HoldfastError('STORE_DAMAGED', { path, problem: error.message }, options);
    default:
      return new HoldfastError('STORE_FAILED', { path, problem: error.message }, options);
  }
}

export const hasCode = (error: unknown, code: ErrorCode): error is HoldfastError =>
  error instanceof HoldfastError && error.code === code;

/** Checksum of the values of a row: SQLite itself does not notice a flipped bit inside a text. */
export function checksum(...values: SqlValue[]): number {
  return crc32(JSON.stringify(values));
}

/** Makes a rename or a new name durable. */
export function syncDirectoryOf(path: string): void {
  const descriptor = openSync(dirname(path), 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
