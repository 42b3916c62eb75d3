import { spawn } from 'node:child_process';
import { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';

/** The least that asks a process of its own over a pipe: JSON lines with ids. A driver host without everything that it is for. */

const PIPE = 3;
const ROLE = 'piped-process';

/** True: this is the process at the other end, and answers as long as the pipe is there. */
export function answersOnPipe(): boolean {
  if (process.argv[2] !== ROLE) return false;
  const pipe = new Socket({ fd: PIPE, readable: true, writable: true });
  createInterface(pipe).on('line', (line) => {
    const { id, value } = JSON.parse(line) as { id: number; value: unknown };
    pipe.write(`${JSON.stringify({ id, value })}\n`);
  });
  return true;
}

/** Starts the program of this process again at the other end of a pipe; asks it. */
export function startPipedProcess(): (value: unknown, answer: (value: unknown) => void) => void {
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1] ?? '', ROLE], { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] });
  const pipe = child.stdio[PIPE] as Duplex;
  const pending = new Map<number, (value: unknown) => void>();
  let lastId = 0;
  createInterface(pipe).on('line', (line) => {
    const { id, value } = JSON.parse(line) as { id: number; value: unknown };
    pending.get(id)?.(value);
    pending.delete(id);
  });
  return (value, answer) => {
    lastId += 1;
    pending.set(lastId, answer);
    pipe.write(`${JSON.stringify({ id: lastId, value })}\n`);
  };
}
