import { access, constants, mkdir, open, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { HoldfastError } from '../../model/errors.ts';

/** Makes the directory of a server where it is missing, for its user alone. Throws CONFIG_INVALID with what to do. */
export async function openDataFolder(path: string): Promise<void> {
  const bad = (problem: string, cause?: unknown): HoldfastError => new HoldfastError('CONFIG_INVALID', { variable: 'HOLDFAST_DATA', problem }, { cause });
  const folder = resolve(path);
  const missing = await missingFolders(folder).catch((error: unknown) => {
    throw bad(`${folder} cannot be used: ${wordsOf(error)}`, error);
  });
  // Step by step: Node's recursive mkdir never returns in a place like /proc, where the parent is there and takes nothing.
  for (const step of missing) {
    await mkdir(step, { mode: 0o700 }).catch((error: unknown) => {
      // Somebody else has just made it.
      if (codeOf(error) === 'EEXIST') return;
      throw bad(`${folder} cannot be made in ${dirname(step)}: ${wordsOf(error)}; name a directory that this user may write to`, error);
    });
  }
  if (!(await stat(folder)).isDirectory()) throw bad(`${folder} is not a directory; name one, or a path where one can be made`);
  await access(folder, constants.W_OK).catch((error: unknown) => {
    throw bad(`${folder} cannot be written to: ${wordsOf(error)}; give it to the user of the server, or name another one`, error);
  });
}

/** Outermost first. */
async function missingFolders(folder: string): Promise<string[]> {
  const missing: string[] = [];
  for (let step = folder; ; step = dirname(step)) {
    const found = await stat(step).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return null;
      throw error;
    });
    if (found !== null) return missing;
    missing.unshift(step);
  }
}

/** Opens the write log once, for no driver host starts that cannot. Throws CONFIG_INVALID. */
export async function tryWriteLog(path: string): Promise<void> {
  try {
    // A pipe that nobody reads would keep us waiting.
    await (await open(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK)).close();
  } catch (error) {
    const problem = `${path} cannot be opened for writing: ${wordsOf(error)}; without it no driver runs`;
    throw new HoldfastError('CONFIG_INVALID', { variable: 'HOLDFAST_WRITE_LOG', problem }, { cause: error });
  }
}

/** Why a write log could not be opened, as far as that is seen without making it; null: it could. */
export async function writeLogProblem(path: string): Promise<string | null> {
  try {
    const found = await stat(path).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return null;
      throw error;
    });
    if (found?.isDirectory() === true) return 'it is a directory';
    await access(found === null ? join(path, '..') : path, constants.W_OK);
    return null;
  } catch (error) {
    return wordsOf(error);
  }
}

/** Why nothing can be written there; null: it can. */
export async function unwritable(folder: string): Promise<'denied' | 'read-only' | null> {
  return access(folder, constants.W_OK).then(
    () => null,
    (error: unknown) => (codeOf(error) === 'EROFS' ? 'read-only' : 'denied'),
  );
}

const words: Readonly<Record<string, string>> = {
  EROFS: 'the file system is read-only',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  ENOTDIR: 'a part of the path is not a directory',
  EISDIR: 'it is a directory',
  ENOENT: 'there is no such directory, or none can be made there',
  ENOSPC: 'no space is left',
  ENXIO: 'nobody reads it',
};

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '');

function wordsOf(error: unknown): string {
  return words[codeOf(error)] ?? (error instanceof Error ? error.message : String(error));
}
