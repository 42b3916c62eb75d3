import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GroupCommit } from '../../../src/shared/adapters/sqlite/group-commit.ts';
import { SqlThread } from '../../../src/shared/adapters/sqlite/sql-thread.ts';
import { Database } from '../../../src/shared/adapters/sqlite/sqlite.ts';
import { HoldfastError } from '../../../src/shared/model/errors.ts';
import { tempFolders } from '../../support/temp-folder.ts';

const folder = tempFolders();

function table(): { db: Database; insert: (value: number) => () => number; values: () => number[] } {
  const db = new Database(join(folder(), 'some.db'));
  db.exec('CREATE TABLE numbers (value INTEGER UNIQUE)');
  const statement = db.prepare('INSERT INTO numbers VALUES (?)');
  return {
    db,
    insert: (value) => () => statement.run(value),
    values: () => db.query<{ value: number }>('SELECT value FROM numbers ORDER BY value').map((row) => row.value),
  };
}
const refuse = (): never => {
  throw new HoldfastError('NOT_FOUND', { kind: 'thing', id: '1' });
};

describe('group commit', () => {
  it('gives each job its own outcome, and undoes all of a job that refuses', () => {
    const { db, insert, values } = table();
    const outcomes = new GroupCommit(db).run([insert(1), () => [insert(2)(), refuse()], insert(3)]);
    expect(outcomes).toEqual([{ value: 1 }, { error: expect.objectContaining({ code: 'NOT_FOUND' }) as Error }, { value: 1 }]);
    expect(values()).toEqual([1, 3]);
    db.close();
  });

  it('stores nothing of any job when the store itself fails', () => {
    const { db, insert, values } = table();
    const outcomes = new GroupCommit(db).run([insert(1), insert(1), insert(2)]);
    expect(outcomes).toHaveLength(3);
    for (const outcome of outcomes) expect(outcome).toMatchObject({ error: { code: 'STORE_FAILED' } });
    expect(values()).toEqual([]);
    expect(new GroupCommit(db).run([insert(7)])).toEqual([{ value: 1 }]);
    db.close();
  });

  it('does not hide a bug, and leaves no transaction open behind it', () => {
    const { db, insert, values } = table();
    const bug = (): never => {
      throw new TypeError('bug');
    };
    expect(() => new GroupCommit(db).run([insert(1), bug])).toThrow(TypeError);
    expect(db.isTransaction).toBe(false);
    expect(values()).toEqual([]);
    db.close();
  });
});

describe('a thread for SQL', () => {
  it('that cannot start is an operating error', async () => {
    const path = join(folder(), 'some.db');
    const missing = new URL(`file://${folder()}/missing.js`);
    await expect(SqlThread.start(path, missing, null)).rejects.toMatchObject({ code: 'STORE_FAILED', facts: { path } });
  });
});
