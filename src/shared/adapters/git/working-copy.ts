import { randomBytes } from 'node:crypto';
import { lstat, mkdir, open, readdir, readlink, realpath, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join, sep } from 'node:path';
import type { CancelSignal } from '../../foundation/cancel.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import { isCommitHash, type Repository, REVISION } from '../../model/repository.ts';
import type { Clock } from '../../ports/clock.ts';
import type { CopyStatus, CopySwitch, WorkingCopy } from '../../ports/working-copy.ts';
import { createGit, type Git } from './git-program.ts';
import { isSymlink, parseTree, refuseTree, type TreeEntry } from './tree-rules.ts';

/** A git of a killed server may still write into what it left: then it is tried again. */
const wholeFolder = { recursive: true, force: true, maxRetries: 10, retryDelay: 20 } as const;

export interface WorkingCopyOptions {
  /** Of this working copy alone; made if it is not there. */
  folder: string;
  repository: Repository;
  clock: Clock;
}

/**
 * mirror.git    what was fetched; can be made anew at any time
 * trees/…       one folder for each time that a commit was checked out, made under another name and renamed when whole
 * indexes/…     what git knows of the files of a tree, to find edits
 * current       link to the tree that drivers are read from: to replace it is what a checkout is
 * last-good     link to the tree before, while the one in `current` is on trial
 */
const placesIn = (folder: string) => ({
  mirror: join(folder, 'mirror.git'),
  trees: join(folder, 'trees'),
  indexes: join(folder, 'indexes'),
  current: join(folder, 'current'),
  lastGood: join(folder, 'last-good'),
  fetched: join(folder, 'fetched'),
});

/** The folder of the drivers, whichever commit is in place. */
export const driversFolderIn = (folder: string, { path }: Repository): string => join(folder, 'current', path);

const EMPTY = 'empty';
const HALF_MADE = 'making-';
const REFS = ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*', '+HEAD:refs/holdfast/head'];

/** Needs no git: a node starts with what it has. A change that a crash left on trial is taken back. Throws STORE_FULL, REPOSITORY_FAILED. */
export async function openWorkingCopy(options: WorkingCopyOptions): Promise<WorkingCopy> {
  const places = placesIn(options.folder);
  return onDisk(options.folder, async () => {
    for (const path of [options.folder, places.trees, places.indexes]) await mkdir(path, { recursive: true, mode: 0o700 });
    if (await exists(places.lastGood)) await rename(places.lastGood, places.current);
    for (const path of [places.trees, options.folder]) await removeMatching(path, (name) => name.startsWith(HALF_MADE));
    // Whoever had these locks was ended: nobody else uses this folder.
    for (const path of [places.indexes, places.mirror]) await removeLocks(path);
    if (!(await exists(places.current))) {
      await mkdir(join(places.trees, EMPTY), { recursive: true });
      await symlink(join('trees', EMPTY), places.current);
    }
    return new GitWorkingCopy(options, await treeAt(places.current));
  });
}

class GitWorkingCopy implements WorkingCopy {
  readonly #folder: string;
  readonly #places: ReturnType<typeof placesIn>;
  readonly #repository: Repository;
  readonly #git: Git;
  /** Name of the tree that is in place. */
  #tree: string;

  constructor({ folder, repository, clock }: WorkingCopyOptions, tree: string) {
    this.#folder = folder;
    this.#places = placesIn(folder);
    this.#repository = repository;
    this.#git = createGit({ clock, repository, folder });
    this.#tree = tree;
  }

  get commit(): string | null {
    return commitOf(this.#tree);
  }

  async status(signal: CancelSignal): Promise<CopyStatus> {
    const { url: remote, branch } = this.#repository;
    const dirty = await this.#dirtyFiles(signal);
    const fetched = await stat(this.#places.fetched).catch(() => null);
    const shown = dirty.slice(0, limits.repositoryDirtyFiles);
    return { remote, branch, commit: this.commit, dirty: shown, dirtyCount: dirty.length, fetchedMs: fetched?.mtimeMs ?? null };
  }

  async refresh(signal: CancelSignal): Promise<void> {
    try {
      await this.#fetchInto(this.#places.mirror, signal);
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'REPOSITORY_FAILED' || /took longer|not installed/.test(error.message)) throw error;
      // A crash may have left a mirror that git cannot use any more: a new one takes its place if it can be had.
      const fresh = join(this.#folder, `${HALF_MADE}${randomBytes(4).toString('hex')}`);
      try {
        await this.#fetchInto(fresh, signal);
        await onDisk(this.#folder, async () => {
          await rm(this.#places.mirror, wholeFolder);
          await rename(fresh, this.#places.mirror);
        });
      } catch (again) {
        await rm(fresh, wholeFolder);
        throw again;
      }
    }
    await onDisk(this.#folder, () => writeFile(this.#places.fetched, ''));
  }

  async resolve(revision: string | null, signal: CancelSignal): Promise<string> {
    if (revision !== null && !REVISION.test(revision)) throw new HoldfastError('COMMIT_UNKNOWN', { commit: revision });
    if (revision !== null && isCommitHash(revision)) {
      const known = await this.#find(revision, signal);
      if (known !== null) return known;
    }
    await this.refresh(signal);
    const { branch } = this.#repository;
    const commit = await this.#find(revision ?? (branch === null ? 'refs/holdfast/head' : `refs/heads/${branch}`), signal);
    if (commit === null) throw new HoldfastError('COMMIT_UNKNOWN', { commit: revision ?? branch ?? 'HEAD' });
    return commit;
  }

  async switchTo(commit: string, { discard }: { discard: boolean }, signal: CancelSignal): Promise<CopySwitch> {
    const before = this.#tree;
    const from = commitOf(before);
    const dirty = from === null ? [] : await this.#dirtyFiles(signal);
    if (dirty.length > 0 && !discard) throw new HoldfastError('REPOSITORY_DIRTY', { files: listed(dirty) });
    if (from === commit && dirty.length === 0) return { from, to: commit, keep: async () => undefined, back: async () => undefined };
    const made = await this.#makeTree(commit, signal);
    await this.#putInPlace(made, before);
    return {
      from,
      to: commit,
      keep: () =>
        onDisk(this.#folder, async () => {
          await rm(this.#places.lastGood, { force: true });
          await this.#prune();
        }),
      back: () =>
        onDisk(this.#folder, async () => {
          await rename(this.#places.lastGood, this.#places.current);
          this.#tree = before;
          await this.#removeTree(made);
        }),
    };
  }

  // ── The mirror ────────────────────────────────────────────────────────────

  async #fetchInto(mirror: string, signal: CancelSignal): Promise<void> {
    if (!(await exists(join(mirror, 'HEAD')))) {
      await this.#git(['init', '--quiet', '--bare', '--template=', mirror], { env: {}, cwd: this.#folder, signal });
    }
    await this.#git(['fetch', '--quiet', '--prune', '--no-tags', '--no-write-fetch-head', 'origin', ...REFS], { ...this.#inMirror(mirror), signal });
  }

  #inMirror(mirror = this.#places.mirror): { env: Record<string, string>; cwd: string } {
    return { env: { GIT_DIR: mirror }, cwd: this.#folder };
  }

  async #find(revision: string, signal: CancelSignal): Promise<string | null> {
    if (!(await exists(join(this.#places.mirror, 'HEAD')))) return null;
    const args = ['rev-parse', '--verify', '--quiet', '--end-of-options', `${revision}^{commit}`];
    const { output } = await this.#git(args, { ...this.#inMirror(), signal, accept: [0, 1, 128] });
    const commit = output.trim();
    return /^[0-9a-f]{40,64}$/.test(commit) ? commit : null;
  }

  // ── Trees ─────────────────────────────────────────────────────────────────

  /** The name of a whole new tree of this commit. */
  async #makeTree(commit: string, signal: CancelSignal): Promise<string> {
    const { output } = await this.#git(['ls-tree', '-r', '-l', '-z', '--full-tree', commit], { ...this.#inMirror(), signal });
    const entries = parseTree(output);
    const refuse = (problem: string): HoldfastError => new HoldfastError('COMMIT_REFUSED', { commit, problem });
    const problem = refuseTree(entries);
    if (problem !== null) throw refuse(problem);
    const name = `${commit}-${randomBytes(4).toString('hex')}`;
    const making = join(this.#places.trees, `${HALF_MADE}${name}`);
    try {
      await onDisk(this.#folder, () => mkdir(making, { mode: 0o700 }));
      await this.#git(['read-tree', '--reset', '-u', commit], { ...this.#atTree(name, making), signal });
      const leaves = await this.#linkThatLeaves(making, entries);
      if (leaves !== null) throw refuse(leaves);
      await onDisk(this.#folder, async () => {
        await sync(making, entries);
        await rename(making, join(this.#places.trees, name));
      });
      return name;
    } catch (error) {
      await rm(making, wholeFolder);
      await rm(join(this.#places.indexes, name), { force: true });
      throw error;
    }
  }

  /** Asked of the file system itself: a link may go through another one. */
  async #linkThatLeaves(tree: string, entries: readonly TreeEntry[]): Promise<string | null> {
    const root = await realpath(tree);
    for (const { path } of entries.filter(isSymlink)) {
      const link = join(tree, path);
      const shown = JSON.stringify(path);
      if ((await readlink(link)).startsWith('/')) return `${shown} is a symbolic link out of the repository`;
      const target = await realpath(link).catch(() => null);
      if (target === null) return `${shown} is a symbolic link that leads nowhere`;
      if (target !== root && !target.startsWith(root + sep)) return `${shown} is a symbolic link out of the repository`;
    }
    return null;
  }

  /** Atomic: whoever opens a file by `current` gets it from the one tree or from the other. */
  async #putInPlace(tree: string, before: string): Promise<void> {
    const { current, lastGood } = this.#places;
    await onDisk(this.#folder, async () => {
      await this.#link(lastGood, before);
      try {
        await this.#link(current, tree);
      } catch (error) {
        await rm(lastGood, { force: true });
        throw error;
      }
      this.#tree = tree;
    }).catch(async (error: unknown) => {
      await this.#removeTree(tree);
      throw error;
    });
  }

  async #link(place: string, tree: string): Promise<void> {
    const making = join(this.#folder, `${HALF_MADE}link`);
    await rm(making, { force: true });
    await symlink(join('trees', tree), making);
    await rename(making, place);
    await syncPath(this.#folder);
  }

  async #prune(): Promise<void> {
    const { trees } = this.#places;
    const names = (await readdir(trees)).filter((name) => name !== this.#tree && name !== EMPTY && !name.startsWith(HALF_MADE));
    const aged = await Promise.all(names.map(async (name) => ({ name, ms: (await lstat(join(trees, name))).ctimeMs })));
    const old = aged.sort((a, b) => b.ms - a.ms).slice(limits.repositoryTrees - 1);
    for (const { name } of old) await this.#removeTree(name);
  }

  async #removeTree(name: string): Promise<void> {
    await rm(join(this.#places.trees, name), wholeFolder);
    await rm(join(this.#places.indexes, name), { force: true });
  }

  // ── Edits ─────────────────────────────────────────────────────────────────

  #atTree(name: string, folder = join(this.#places.trees, name)): { env: Record<string, string>; cwd: string } {
    return { env: { GIT_DIR: this.#places.mirror, GIT_WORK_TREE: folder, GIT_INDEX_FILE: join(this.#places.indexes, name) }, cwd: folder };
  }

  async #dirtyFiles(signal: CancelSignal): Promise<string[]> {
    const { commit } = this;
    if (commit === null) return [];
    const call = { ...this.#atTree(this.#tree), signal };
    if (!(await exists(call.env['GIT_INDEX_FILE'] ?? ''))) await this.#git(['read-tree', commit], call);
    await this.#git(['update-index', '-q', '--refresh'], { ...call, accept: [0, 1] });
    const changed = await this.#git(['diff-files', '--name-only', '-z', '--ignore-submodules'], call);
    const added = await this.#git(['ls-files', '--others', '--exclude-per-directory=.gitignore', '-z'], call);
    return [...new Set(`${changed.output}${added.output}`.split('\0'))].filter((path) => path !== '').toSorted();
  }
}

const listed = (files: readonly string[]): string => {
  const shown = files.slice(0, limits.repositoryDirtyFiles).join(', ');
  return files.length > limits.repositoryDirtyFiles ? `${shown} and ${files.length - limits.repositoryDirtyFiles} more` : shown;
};

const commitOf = (tree: string): string | null => /^([0-9a-f]{40,64})-/.exec(tree)?.[1] ?? null;
const treeAt = async (link: string): Promise<string> => (await readlink(link)).replace(/^trees\//, '');

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(() => true, () => false);
}

/** Errors of the file system as operating errors. */
async function onDisk<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    const full = error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
    if (full) throw new HoldfastError('STORE_FULL', { path: folder }, { cause: error });
    throw new HoldfastError('REPOSITORY_FAILED', { problem: error instanceof Error ? error.message : String(error) }, { cause: error });
  }
}

async function removeMatching(folder: string, matches: (name: string) => boolean): Promise<void> {
  for (const name of (await readdir(folder)).filter(matches)) await rm(join(folder, name), wholeFolder);
}

/** Locks, and packs that were not received to their end. */
async function removeLocks(folder: string): Promise<void> {
  const names = await readdir(folder, { recursive: true }).catch((): string[] => []);
  const left = names.filter((name) => name.endsWith('.lock') || /(?:^|\/)tmp_(?:pack|idx|obj|rev)_\w+$/.test(name));
  for (const name of left) await rm(join(folder, name), wholeFolder);
}

/** Before a tree counts as whole its files are on the disk: a power cut must not leave empty ones. */
async function sync(tree: string, entries: readonly TreeEntry[]): Promise<void> {
  const folders = new Set<string>([tree]);
  for (const entry of entries) {
    const parts = entry.path.split('/').slice(0, -1);
    parts.forEach((_, i) => folders.add(join(tree, ...parts.slice(0, i + 1))));
    if (!isSymlink(entry)) await syncPath(join(tree, entry.path));
  }
  for (const path of folders) await syncPath(path);
}

async function syncPath(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
