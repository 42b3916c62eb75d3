/** A child process that runs drivers, and the ordered pipe to it. Messages are JSON values. */
export interface HostProcess {
  readonly pid: number;
  /** Messages of one event-loop turn leave together, a lone one at once. Nothing after the end. */
  send(message: object): void;
  /** What is still to leave leaves now. */
  flush(): void;
  /** Bytes that the process has not yet read. */
  bufferedBytes(): number;
  /** Sets who listens; call it once, right after the start. `ended` comes exactly once. */
  listen(handler: HostProcessHandler): void;
  /** Ends the pipe: the process closes its device sockets and exits by itself. */
  end(): void;
  /** At once, whatever it does. */
  kill(): void;
}

export interface HostProcessHandler {
  message(message: unknown): void;
  /** What it writes to its error output. */
  output(text: string): void;
  /** The process is gone and so are its sockets. `lastWords` is the end of what it wrote to its error output. */
  ended(reason: string, lastWords: string): void;
}

export interface HostProcesses {
  /** Starts a process. One that cannot be started ends at once. */
  start(options: HostProcessOptions): HostProcess;
  /** One in which code is tried, and that drives nothing. */
  startTrial(): HostProcess;
}

export interface HostProcessOptions {
  /** Every device write is also appended to this file; null: kept in memory only. */
  writeLog: string | null;
  /** Written into that file with each write. */
  nodeId: string;
}
