/**
 * The way to one device or service. A driver host has one kind per protocol; the harness has its own.
 */
export interface Connection {
  open(handler: ConnectionHandler): void;
  /** Trying soon has no use (a wrong password): closes, and tries again much later. */
  openBreaker(problem: string): void;
  /** Connects anew at once, for other code that begins from the start. It counts as connected meanwhile, unless that fails. */
  renew(): void;
  /** For ever. Resolves when no byte can leave any more. */
  close(): Promise<void>;
}

export interface ConnectionHandler {
  /** The first attempt to connect has ended, well (and after `connected` then) or not. Once. */
  attempted(): void;
  connected(): void;
  disconnected(reason: string): void;
  /** Why the breaker is open: only a change of settings helps. null: it is closed again. */
  broken(problem: string | null): void;
}

/** Carries the bytes of commands and answers, and keeps itself up. */
export interface Transport extends Connection {
  open(handler: TransportHandler): void;
  /** A connection stands, and nobody on this side has ended it: that is told of later. */
  readonly up: boolean;
  /** That, and the last bytes were passed on. */
  readonly ready: boolean;
  /**
   * Hands bytes over if the write gate lets them: throws GATE_CLOSED, STALE_EPOCH or DEVICE_OFFLINE,
   * and nothing has left then.
   */
  write(data: Uint8Array): void;
  /** Whether commands wait or are in flight: make-and-break connects and closes by that. */
  demand(wanted: boolean): void;
  /** An attempt of a command got no answer in time. After a few in a row the device counts as gone. `isFirst`: of its command. */
  unanswered(isFirst: boolean): void;
  /** Drops the connection (the device talks nonsense) and connects anew, make-and-break on demand. */
  reset(reason: string): void;
}

export interface TransportHandler extends ConnectionHandler {
  /** Make-and-break: the connection ended and is made again on demand; the device still counts as connected. */
  interrupted(): void;
  /** Make-and-break: it was made again. */
  reopened(): void;
  /** The connection is still at its beginning, such as a login: one that ends so was of no use. */
  readonly opening: boolean;
  received(chunk: Uint8Array): void;
  /** `ready` became true again: buffers were filled and are empty now. */
  drained(): void;
}
