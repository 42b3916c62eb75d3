import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import type { ControlMessage } from '../../src/shared/control/messages.ts';
import type { Urgency } from '../../src/shared/foundation/turn-gatherer.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import type { Epoch } from '../../src/shared/model/control.ts';
import type { Connection, ConnectionHandler } from '../../src/shared/ports/transport.ts';
import { PeerLink } from '../../src/shared/runtime/peer/peer-link.ts';
import type { PeerLinkHandlers } from '../../src/shared/runtime/peer/peer-link-options.ts';
import { FakeClock } from './fake-clock.ts';
import { createMemoryLog } from './memory-log.ts';
import { seededRandom } from './seeded-random.ts';

const DELAY_MS = 5;

/** One end of a line in memory, with a delay, a rate, and two directions that can be lost. */
class End implements Connection {
  readonly peerId: string;
  readonly peerProcess: string;
  readonly remote = 'memory';
  other: End | null = null;
  /** Frames that leave here are lost. */
  lost = false;
  /** Bytes a second; 0: no limit. */
  rate = 0;
  readonly sent: string[] = [];
  /** Of the last. */
  urgency: Urgency = 'now';
  readonly #clock: FakeClock;
  #handler: ConnectionHandler | null = null;
  #early: string[] = [];
  #buffered = 0;
  #busyUntilMs = 0;
  #closed = false;

  constructor(clock: FakeClock, peerId: string, peerProcess = '') {
    this.#clock = clock;
    this.peerId = peerId;
    this.peerProcess = peerProcess;
  }

  send(frame: string, urgency: Urgency = 'now'): void {
    if (this.#closed) return;
    this.sent.push(frame);
    this.urgency = urgency;
    this.#buffered += frame.length;
    const nowMs = this.#clock.monotonicMs();
    this.#busyUntilMs = Math.max(this.#busyUntilMs, nowMs) + (this.rate === 0 ? 0 : (frame.length / this.rate) * 1_000);
    // What is on its way is not with the socket any more.
    this.#clock.after(this.#busyUntilMs - nowMs, () => {
      this.#buffered -= frame.length;
      this.#handler?.drained();
    });
    this.#clock.after(this.#busyUntilMs - nowMs + DELAY_MS, () => {
      if (!this.lost) this.other?.deliver(frame);
    });
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  bufferedBytes(): number {
    return this.#buffered;
  }

  listen(handler: ConnectionHandler): void {
    this.#handler = handler;
    for (const frame of this.#early.splice(0)) handler.frame(frame);
  }

  deliver(frame: string): void {
    if (this.#closed) return;
    if (this.#handler === null) this.#early.push(frame);
    else this.#handler.frame(frame);
  }

  close(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handler?.closed(reason);
    if (!this.lost) this.#clock.after(DELAY_MS, () => this.other?.close('closed-by-peer'));
  }
}

export interface Side {
  link: PeerLink;
  /** Number of the present socket. */
  socket: number;
  end: End;
  floor: Epoch;
  control: ControlMessage[];
  posts: { type: string; body: Json }[];
  downs: { lastHeardMs: number; reason: string; atMs: number }[];
  opened: boolean[];
  /** Epochs above the floor, and the link that they came by. */
  heard: [number, Epoch][];
  calls: string[];
  metrics: ReturnType<typeof createPromMetrics>;
  log: ReturnType<typeof createMemoryLog>;
  /** What this side answers; replace it to answer otherwise. */
  answer: PeerLinkHandlers['request'];
}

const terms = { failover: true, policy: 'available' as const, timeoutMs: 20_000, paused: false };

/** An edge's and a master's link over lines in memory, on one clock. The verdict is always for the edge. */
export class PeerPair {
  readonly clock = new FakeClock();
  edge: Side;
  master: Side;
  negotiates = true;

  constructor() {
    this.edge = this.#side('edge', 'edge-boot');
    this.master = this.#side('master', 'master-boot');
  }

  /** As after a crash: nothing of the session is known any more. */
  restart(side: 'edge' | 'master'): void {
    this[side].link.shutdown();
    this[side] = this.#side(side, `${side}-again`);
  }

  /** Somebody with the identity of the edge dials the master. */
  arrive(process: string): End {
    const near = new End(this.clock, 'master');
    const far = new End(this.clock, 'berlin', process);
    near.other = far;
    far.other = near;
    this.master.link.attach(far);
    return far;
  }

  /** A new line; the edge says hello. */
  connect(process = ''): void {
    const near = new End(this.clock, 'master');
    const far = new End(this.clock, 'berlin', process);
    near.other = far;
    far.other = near;
    this.master.end = far;
    this.edge.end = near;
    this.master.link.attach(far);
    this.edge.link.attach(near);
    this.edge.link.sendControl(this.edge.socket, { t: 'hello', negotiation: this.edge.socket, epoch: this.edge.floor, state: 'standby', held: [] });
  }

  async open(process = ''): Promise<void> {
    this.connect(process);
    await this.clock.advance(50);
  }

  #side(side: 'edge' | 'master', bootId: string): Side {
    const draw = seededRandom(side === 'edge' ? 1 : 2);
    const metrics = createPromMetrics();
    const log = createMemoryLog();
    const random = { next: draw, hex: (bytes: number) => Math.floor(draw() * 1e9).toString(16).padStart(bytes * 2, '0') };
    const made: Omit<Side, 'link'> = {
      socket: 0,
      end: new End(this.clock, 'nobody'),
      floor: { generation: 0, number: 2 },
      control: [],
      posts: [],
      downs: [],
      opened: [],
      heard: [],
      calls: [],
      metrics,
      log,
      answer: async (kind, body) => ({ kind, body }),
    };
    const handlers: PeerLinkHandlers = {
      up: (link) => {
        this[side].socket = link;
      },
      control: (message, link) => {
        made.control.push(message);
        if (side !== 'master' || message.t !== 'hello' || !this.negotiates) return;
        const { negotiation } = message;
        this.master.link.sendControl(link, { t: 'negotiate', negotiation, winner: 'edge', reason: 'no-takeover-happened', epoch: made.floor, terms });
      },
      open: (_, resumed) => void made.opened.push(resumed),
      epochHeard: (epoch, link) => void made.heard.push([link, epoch]),
      ended: () => undefined,
      down: (_, info) => void made.downs.push({ ...info, atMs: this.clock.monotonicMs() }),
      request: (kind, body, context) => {
        made.calls.push(kind);
        return made.answer(kind, body, context);
      },
      post: (type, body) => void made.posts.push({ type, body }),
    };
    const options = { side, clock: this.clock, random, log, metrics, bootId, floor: () => made.floor, resumeWindowMs: 10_000, peer: 'berlin', handlers };
    return Object.assign(made, { link: new PeerLink(options) });
  }
}
