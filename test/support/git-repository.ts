import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** What a file is in a commit: text, a link to somewhere, or null: not there any more. */
export type Files = Record<string, string | { link: string } | null>;

/** A bare repository on disk, as a server would have it, and what was pushed to it. */
export interface TestRepository {
  /** To be fetched from. */
  url: string;
  /** Commits these changes to the files of the branch `main`, pushes, and answers the hash. */
  commit(files: Files): string;
  /** Runs git in the bare repository. */
  git(args: readonly string[], input?: string | Buffer): string;
}

const environment = {
  PATH: process.env['PATH'] ?? '',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
  ...Object.fromEntries(['AUTHOR', 'COMMITTER'].flatMap((who) => [[`GIT_${who}_NAME`, 'Ada'], [`GIT_${who}_EMAIL`, 'ada@example.org']])),
};

export function createRepository(folder: string, name = 'drivers'): TestRepository {
  const bare = join(folder, `${name}.git`);
  const git = (args: readonly string[], input?: string | Buffer): string =>
    execFileSync('git', args, { cwd: bare, env: environment, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'], ...(input === undefined ? {} : { input }) }).trim();
  mkdirSync(bare, { recursive: true });
  git(['init', '--quiet', '--bare', '--initial-branch=main', '.']);
  const tree = new Map<string, string>();
  let head: string | null = null;
  return {
    url: bare,
    git,
    commit(files) {
      for (const [path, file] of Object.entries(files)) {
        if (file === null) tree.delete(path);
        else if (typeof file === 'string') tree.set(path, `100644 ${git(['hash-object', '-w', '--stdin'], file)}`);
        else tree.set(path, `120000 ${git(['hash-object', '-w', '--stdin'], file.link)}`);
      }
      const index = join(folder, `${name}.index`);
      const inIndex = (args: readonly string[], input: string): string =>
        execFileSync('git', args, { cwd: bare, env: { ...environment, GIT_INDEX_FILE: index }, encoding: 'utf8', input }).trim();
      rmSync(index, { force: true });
      inIndex(['update-index', '--add', '--index-info'], [...tree].map(([path, entry]) => `${entry}\t${path}\n`).join(''));
      const made = inIndex(['write-tree'], '');
      head = git(['commit-tree', made, '-m', 'a change', ...(head === null ? [] : ['-p', head])]);
      git(['update-ref', 'refs/heads/main', head]);
      return head;
    },
  };
}

/** Writes a file and the folders that it is in. */
export function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}
