import { readdirSync, readFileSync } from 'node:fs';
import { constants, getPriority } from 'node:os';

const threadsOf = (pid: number): string[] => readdirSync(`/proc/${pid}/task`);

/** How many threads of a process let others go first. On Linux a thread has a priority of its own. */
export const lowThreadsOf = (pid: number): number =>
  threadsOf(pid).filter((thread) => getPriority(Number(thread)) === constants.priority.PRIORITY_BELOW_NORMAL).length;

/** The processes that one has started. */
export function childrenOf(pid: number): number[] {
  const texts = threadsOf(pid).flatMap((thread) => readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').trim().split(' '));
  return texts.filter((text) => text !== '').map(Number);
}

/** What has ended and is still listed, because nobody asked for its exit code, does not run. */
export function isRunning(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
