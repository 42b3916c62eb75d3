import { chmod, mkdir, open, readFile, rename, writeFile } from 'node:fs/promises';
import { HoldfastError } from '../../model/errors.ts';

/** Throws STORE_FAILED, as everything here. */
export async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    throw storeFailed(folder, error);
  });
}

/** Null: there is no such file. */
export async function readText(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw storeFailed(path, error);
  }
}

/** Whole or not at all, also across a crash; durable once the folder is synchronised. */
export async function replaceFile(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}.new`;
  await writeFile(temporary, text, { mode, flush: true });
  await chmod(temporary, mode);
  await rename(temporary, path);
}

/** The names of the files are durable too. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const hasCode = (error: unknown, code: string): boolean => error instanceof Error && 'code' in error && error.code === code;

export function storeFailed(path: string, error: unknown): HoldfastError {
  if (hasCode(error, 'ENOSPC')) return new HoldfastError('STORE_FULL', { path }, { cause: error });
  return new HoldfastError('STORE_FAILED', { path, problem: error instanceof Error ? error.message : String(error) }, { cause: error });
}
