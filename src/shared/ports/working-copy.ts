import type { CancelSignal } from '../foundation/cancel.ts';

/** What is checked out, and what it was checked out from. */
export interface CopyStatus {
  /** Address of the repository, without credentials. */
  remote: string;
  /** The branch that `pull` follows; null: the default one of the repository. */
  branch: string | null;
  /** null: nothing was checked out yet. */
  commit: string | null;
  /** Files that differ from the commit, the first of them in the order of their names. */
  dirty: string[];
  /** How many do. */
  dirtyCount: number;
  /** Unix milliseconds of the last fetch that succeeded; null: none did. */
  fetchedMs: number | null;
}

/** Another commit is in place, and the one before can still come back. One of both must be called. */
export interface CopySwitch {
  from: string | null;
  to: string;
  /** It stays. Until then a restart of the node brings the one before back. */
  keep(): Promise<void>;
  /** The one before is in place again, with whatever had been edited in it. */
  back(): Promise<void>;
}

/**
 * A git working copy of driver code, which one node uses alone. Drivers are read from one folder; another commit appears
 * there whole and at once, or not at all: whatever fails, or is killed at any moment, leaves what was there.
 * Calls come one after the other. They throw REPOSITORY_FAILED, STORE_FULL, and CANCELLED when the signal aborts.
 */
export interface WorkingCopy {
  /** What is checked out now; null: nothing yet. */
  readonly commit: string | null;
  status(signal: CancelSignal): Promise<CopyStatus>;
  /** Brings here what the repository has. */
  refresh(signal: CancelSignal): Promise<void>;
  /** What a branch, tag or hash means now; null: the tip of the branch that is followed. Fetches for whatever it cannot know. Throws COMMIT_UNKNOWN. */
  resolve(revision: string | null, signal: CancelSignal): Promise<string>;
  /**
   * Puts this commit in place. Throws REPOSITORY_DIRTY when edits would be lost (`discard`: they may be), and
   * COMMIT_REFUSED for what must not get onto this machine.
   */
  switchTo(commit: string, options: { discard: boolean }, signal: CancelSignal): Promise<CopySwitch>;
}
