import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';

/** Hands out folders that are removed after each test. Call once per test file. */
export function tempFolders(): () => string {
  const folders: string[] = [];
  afterEach(() => {
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 });
  });
  return () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-'));
    folders.push(folder);
    return folder;
  };
}
