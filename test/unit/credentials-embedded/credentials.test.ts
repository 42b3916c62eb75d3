import { statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openCredentials } from '../../../src/shared/adapters/credentials-embedded/credentials.ts';
import { tempFolders } from '../../support/temp-folder.ts';

const folder = tempFolders();

describe('credentials', () => {
  it('keeps values over a restart, and forgets what was deleted', async () => {
    const path = join(folder(), 'credentials.db');
    const first = await openCredentials({ path });
    await first.set('secret', 'one');
    await first.set('secret', 'two');
    await first.set('token', 'abc');
    await first.delete('token');
    expect(first.get('secret')).toBe('two');
    await first.close();
    const second = await openCredentials({ path });
    expect(second.get('secret')).toBe('two');
    expect(second.get('token')).toBeNull();
    await second.close();
  });

  it('lets a one-time token be spent once, however many try at the same moment', async () => {
    const path = join(folder(), 'credentials.db');
    const credentials = await openCredentials({ path });
    await credentials.set('token:edge-1', 'abc');
    const spent = await Promise.all(Array.from({ length: 10 }, () => credentials.compareAndSet('token:edge-1', 'abc', null)));
    expect(spent.filter(Boolean)).toHaveLength(1);
    expect(credentials.get('token:edge-1')).toBeNull();
    expect(await credentials.compareAndSet('token:edge-1', null, 'def')).toBe(true);
    expect(await credentials.compareAndSet('token:edge-1', 'abc', 'ghi')).toBe(false);
    expect(credentials.get('token:edge-1')).toBe('def');
    await credentials.close();
  });

  it('can be read by its owner only, log included', async () => {
    const path = join(folder(), 'credentials.db');
    const credentials = await openCredentials({ path });
    await credentials.set('secret', 'one');
    for (const file of [path, `${path}-wal`]) expect(statSync(file).mode & 0o777).toBe(0o600);
    await credentials.close();
  });

  it('belongs to one process at a time', async () => {
    const path = join(folder(), 'credentials.db');
    const credentials = await openCredentials({ path });
    await expect(openCredentials({ path })).rejects.toMatchObject({ code: 'STORE_BUSY' });
    await credentials.close();
  });
});
