/** One WebSocket of a client. */
export interface ClientSocket {
  /** Bytes of a whole WebSocket frame. Those of one event-loop turn leave together, a lone one at once; after `close` nothing is sent. */
  send(frame: Uint8Array): void;
  /** The same for status: it may wait `clientStatusRestMs` for more where many clients are told. Order is kept with what `send` takes. */
  sendStatus(frame: Uint8Array): void;
  /** Bytes that were sent and have not left this process. */
  queuedBytes(): number;
  /** Asks whether the other side is there; its answer is reported as heard. */
  ping(): void;
  /** Hands over at once what came and waits for its turn: the last that is received of this client. */
  receiveRest(): void;
  /** What was sent leaves first; a client that does not answer is cut off. `reason` is at most 100 letters. */
  close(code: number, reason: string): void;
}

export interface ClientSocketHandler {
  /** A text message; null: a binary one. */
  receive(text: string | null): void;
  /** The client answered a ping. */
  heard(): void;
  /** Everything that was queued has left. */
  drained(): void;
  /** Once, and the last call. */
  closed(): void;
}
