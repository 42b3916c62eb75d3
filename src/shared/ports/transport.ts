import type { Urgency } from '../foundation/turn-gatherer.ts';

/** A proved connection: ordered, reliable text frames to a peer whose identity is known. TLS and the proof lie below it. */
export interface Connection {
  /** Id of the edge (seen by the master) or of the master (seen by the edge). */
  readonly peerId: string;
  /** Of the process at the other end, a new one at each start; empty where it is not known. */
  readonly peerProcess: string;
  /** For logs. */
  readonly remote: string;
  /**
   * Hands a frame to the socket; small frames of one event-loop turn leave together, a lone one at once, and what need only
   * leave soon where many such come within the same few milliseconds. Nothing after `close`.
   */
  send(frame: string, urgency?: Urgency): void;
  /** Bytes that the socket has not yet passed on. */
  bufferedBytes(): number;
  /** Sets who listens. Frames that arrived earlier are delivered then. `closed` comes exactly once, also after `close`. */
  listen(handler: ConnectionHandler): void;
  /** Ends the connection; `reason` is a short word, at most 100 characters. Does not wait for the peer. */
  close(reason: string): void;
}

export interface ConnectionHandler {
  frame(text: string): void;
  /** Something that had been buffered has left: more may be sent. */
  drained(): void;
  closed(reason: string): void;
}

export interface LinkDialler {
  /** One attempt to one address: TCP, TLS and the proof. Throws a HoldfastError; `signal` carries the deadline. */
  dial(address: string, signal: AbortSignal): Promise<Connection>;
}

export interface LinkListener {
  /** Calls back for each connection that has proved itself. */
  start(onConnection: (connection: Connection) => void): Promise<{ address: string }>;
  /** Closes the live connections of an edge (revocation). */
  closePeer(peerId: string, reason: string): void;
  close(): Promise<void>;
}
