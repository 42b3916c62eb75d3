import type { ControlMessage } from '../../control/messages.ts';
import type { CancelSignal } from '../../foundation/cancel.ts';
import type { Json } from '../../foundation/json.ts';
import type { PostType, RequestKind } from '../../link/frames.ts';
import type { Epoch } from '../../model/control.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Random } from '../../ports/random.ts';

export interface PeerLinkHandlers {
  /** A new socket, before anything of it is delivered. Each is followed by one `down`. */
  up(link: number): void;
  /** A control message of the present socket; `link` is its number. The first of each socket is `hello` or `negotiate`. */
  control(message: ControlMessage, link: number): void;
  /** What is no control message came under a higher epoch than the floor. */
  epochHeard(epoch: Epoch, link: number): void;
  /** Negotiated: what was buffered is on its way, new traffic flows. */
  open(link: number, resumed: boolean): void;
  /** Exactly once per socket. `lastHeardMs`: monotonic time of the last frame received on it. */
  down(link: number, info: { lastHeardMs: number; reason: string }): void;
  /** The session is over: neither side knows any more what the other had asked for. */
  ended(): void;
  /** A request of the peer. What is thrown becomes its coded answer; `signal` aborts on cancel, deadline and end of session. */
  request(kind: RequestKind, body: Json, context: { signal: CancelSignal; deadlineMs: number; epoch: Epoch | null }): Promise<Json>;
  /** `length`: of its text. */
  post(type: PostType, body: Json, context: { epoch: Epoch | null; length: number }): void;
}

export interface PeerLinkOptions {
  side: 'edge' | 'master';
  clock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
  /** Random per process start: a session is only resumed between the same two processes. */
  bootId: string;
  /** Highest epoch heard of for this link's location: stamped on what is sent, and the gate for what arrives. */
  floor(): Epoch;
  /** Below the location's `timeout`, at most `limits.resumeWindowMs`. */
  resumeWindowMs: number;
  peer: string;
  handlers: PeerLinkHandlers;
}

export interface PeerLinkView {
  state: 'down' | 'negotiating' | 'up';
  remote: string;
  sinceMs: number;
  roundTripMs: number | null;
  inFlight: number;
  reason: string;
}
