import { readFile, rename, writeFile } from 'node:fs/promises';
import type { TextStorage } from './transport.ts';

/** Keeps the member list in a file, which is replaced as a whole. */
export const fileStorage = (path: string): TextStorage => ({
  load: () => readFile(path, 'utf8'),
  save: async (text) => {
    await writeFile(`${path}.new`, text, { mode: 0o600 });
    await rename(`${path}.new`, path);
  },
});
