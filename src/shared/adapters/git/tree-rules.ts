import { limits } from '../../model/limits.ts';

/** An entry of a commit, as `git ls-tree -r -l -z` says. */
export interface TreeEntry {
  mode: string;
  bytes: number;
  path: string;
}

export const isSymlink = ({ mode }: TreeEntry): boolean => mode === '120000';

export function parseTree(output: string): TreeEntry[] {
  return output
    .split('\0')
    .filter((line) => line !== '')
    .map((line) => {
      const tab = line.indexOf('\t');
      const [mode = '', , , bytes = ''] = line.slice(0, tab).split(/ +/);
      return { mode, bytes: Number(bytes) || 0, path: line.slice(tab + 1) };
    });
}

/** Why a commit must not be written to this disk; null: it may. Symbolic links are judged by where they lead, once they are there. */
export function refuseTree(entries: readonly TreeEntry[]): string | null {
  if (entries.length > limits.repositoryFiles) return `it has ${entries.length} files; ${limits.repositoryFiles} are allowed`;
  for (const entry of entries) {
    const problem = refuseEntry(entry);
    if (problem !== null) return problem;
  }
  const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  if (bytes > limits.repositoryTreeBytes) return `its files are ${bytes} bytes in all; ${limits.repositoryTreeBytes} are allowed`;
  return null;
}

function refuseEntry({ mode, bytes, path }: TreeEntry): string | null {
  const shown = JSON.stringify(path.slice(0, 200));
  if (refusesPath(path)) return `${shown} is no path for a file`;
  if (mode === '160000') return `${shown} is a submodule; put its files into the repository`;
  if (!/^(?:100(?:644|664|755)|120000)$/.test(mode)) return `${shown} is neither a file nor a link`;
  if (bytes > limits.repositoryFileBytes) return `${shown} is ${bytes} bytes; ${limits.repositoryFileBytes} are allowed`;
  return null;
}

/** Whatever could leave the folder, be git's own, or be read otherwise on another system. */
function refusesPath(path: string): boolean {
  if (path.length > 500 || /[\p{Cc}\\:\ufffd]/u.test(path)) return true;
  return path.split('/').some((part) => part === '' || part === '.' || part === '..' || /^(?:\.git|git~\d+)[. ]*$/i.test(part));
}
