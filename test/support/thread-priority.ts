import { readdirSync, readFileSync } from 'node:fs';

/** How many threads of a process let others go first. */
export const lowThreadsOf = (pid: number): number => readdirSync(`/proc/${pid}/task`).filter((thread) => niceOf(pid, thread) === 10).length;

/** The name, in parentheses, may hold anything. */
const niceOf = (pid: number, thread: string): number => Number(readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ')[16]);

/** The processes that one has started. */
export const childrenOf = (pid: number): number[] =>
  readdirSync(`/proc/${pid}/task`)
    .flatMap((thread) => readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' '))
    .filter((child) => child.trim() !== '')
    .map(Number);
