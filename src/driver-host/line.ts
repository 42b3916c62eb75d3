/** One connection to a device, from its first attempt to its end. */
export interface Line {
  /** Takes bytes without growing a buffer. */
  readonly writable: boolean;
  /** Holds bytes that the kernel has not taken. */
  readonly unsent: boolean;
  write(data: Uint8Array): void;
  /** Ends it with a reset: what the kernel still holds is thrown away. `ended` follows. */
  drop(): void;
}

export interface LineEnd {
  reason: string;
  /** The next attempt will end alike until somebody changes a setting. */
  permanent: boolean;
}

export interface LineEvents {
  /** Bytes can be written. At most once. */
  up(): void;
  received(chunk: Uint8Array): void;
  drained(): void;
  /** Once, and last; never before the function that made the line has returned. */
  ended(end: LineEnd): void;
}

export type Dial = (events: LineEvents) => Line;

/** What no second attempt cures: a name that does not exist, and TLS spoken to something else. */
export function isPermanent(error: NodeJS.ErrnoException): boolean {
  const code = error.code ?? '';
  return code === 'ENOTFOUND' || code === 'EPROTO' || code.startsWith('ERR_SSL_');
}
