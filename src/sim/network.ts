import { HoldfastError } from '../shared/model/errors.ts';
import type { Connection, ConnectionHandler, LinkDialler, LinkListener } from '../shared/ports/transport.ts';
import type { Incarnation, Machine } from './machine.ts';
import type { SimRandom } from './random.ts';
import type { Timeline } from './timeline.ts';

export type Direction = 'to-master' | 'to-edge';

/** What is wrong with the line between an edge and the master, per direction. */
interface Lane {
  cut: boolean;
  /** Added to each frame. */
  slowMs: number;
  /** Share of frames that have to be sent again. */
  loss: number;
}

/** Called with each frame that a node hands over, before it travels. */
export type FrameTap = (from: Machine, text: string) => void;
/** Called with each frame that reaches a node. */
export type ArrivalTap = (at: Machine) => void;

const RESEND_MS = 250;

/** The way between one edge and the master: delays, cuts, and the connections on it. TCP: a lost frame is a late one. */
export class Line {
  readonly edge: Machine;
  readonly master: Machine;
  readonly timeline: Timeline;
  readonly random: SimRandom;
  readonly lanes: Record<Direction, Lane> = {
    'to-master': { cut: false, slowMs: 0, loss: 0 },
    'to-edge': { cut: false, slowMs: 0, loss: 0 },
  };
  readonly taps: { sent: FrameTap; arrived: ArrivalTap };
  /** What becomes of a frame on its way: a peer that has fallen behind sends what is over. */
  rewrite: (frame: string) => string = (frame) => frame;
  /** One-way, without faults. */
  readonly baseMs: number;
  readonly #pipes = new Set<Pipe>();
  #listening: { process: Incarnation; accept: (connection: Connection) => void } | null = null;

  constructor(parts: { edge: Machine; master: Machine; timeline: Timeline; random: SimRandom; taps: { sent: FrameTap; arrived: ArrivalTap } }) {
    this.edge = parts.edge;
    this.master = parts.master;
    this.timeline = parts.timeline;
    this.random = parts.random;
    this.taps = parts.taps;
    this.baseMs = this.random.between(1, 30);
  }

  /** Something is wrong with it now. */
  get faulty(): boolean {
    return Object.values(this.lanes).some(({ cut, slowMs, loss }) => cut || slowMs > 0 || loss > 0);
  }

  /** Nothing gets through; who is connected does not notice. */
  cut(direction?: Direction): void {
    for (const way of directionsOf(direction)) this.lanes[way].cut = true;
  }

  /** Everything works again; what was on its way arrives after a while. */
  heal(): void {
    for (const way of directionsOf()) Object.assign(this.lanes[way], { cut: false, slowMs: 0, loss: 0 });
    for (const pipe of this.#pipes) pipe.unstall();
  }

  slow(ms: number, loss: number): void {
    for (const way of directionsOf()) Object.assign(this.lanes[way], { slowMs: ms, loss });
  }

  /** Somebody between the two forgot the connections: nothing arrives any more and nobody is told. */
  halfOpen(): void {
    for (const pipe of this.#pipes) pipe.forget();
  }

  /** The connections are reset: both ends are told if the way is free. */
  reset(): void {
    for (const pipe of this.#pipes) pipe.reset();
  }

  /** Connections of which an end still thinks that they are open. */
  get openPipes(): number {
    return this.#pipes.size;
  }

  /** A process ended. `silently`: the power went, and nobody sends a reset for it. */
  processEnded(machine: Machine, silently: boolean): void {
    if (machine === this.master) this.#listening = null;
    for (const pipe of this.#pipes) pipe.endedAt(machine, silently);
  }

  transitMs(direction: Direction): number {
    const { slowMs, loss } = this.lanes[direction];
    const resent = loss > 0 && this.random.chance(loss) ? RESEND_MS * this.random.between(1, 4) : 0;
    return this.baseMs * this.random.between(0.8, 1.5) + slowMs * this.random.next() + resent;
  }

  listen(process: Incarnation, accept: (connection: Connection) => void): void {
    this.#listening = { process, accept };
  }

  stopListening(process: Incarnation): void {
    if (this.#listening?.process === process) this.#listening = null;
  }

  /** TCP, TLS and the proof: two round trips. A cut in either direction swallows it until the caller gives up. */
  dial(process: Incarnation, signal: AbortSignal): Promise<Connection> {
    return new Promise<Connection>((resolve, reject) => {
      let settled = false;
      const settle = (act: () => void): void => {
        if (settled) return;
        settled = true;
        signal.removeEventListener('abort', aborted);
        act();
      };
      const aborted = (): void => settle(() => reject(signal.reason as Error));
      if (signal.aborted) return aborted();
      signal.addEventListener('abort', aborted);
      const passes = (): boolean => !this.lanes['to-master'].cut && !this.lanes['to-edge'].cut;
      const atEdge = (delayMs: number, act: () => void): void => {
        this.timeline.after(delayMs, () => this.edge.deliver(process, act));
      };
      if (!passes()) return;
      this.timeline.after(this.transitMs('to-master') * 2 + this.transitMs('to-edge'), () => {
        const listening = this.#listening;
        if (!passes()) return;
        if (listening === null) {
          // Nobody listens: a machine that is up refuses at once.
          const refused = new HoldfastError('UNREACHABLE', { origin: this.master.name, problem: 'refused' });
          atEdge(this.transitMs('to-edge'), () => settle(() => reject(refused)));
          return;
        }
        this.master.deliver(listening.process, () => {
          const pipe = new Pipe(this, process, listening.process);
          this.#pipes.add(pipe);
          listening.accept(pipe.endAt('to-edge'));
          if (this.lanes['to-edge'].cut) return;
          atEdge(this.transitMs('to-edge'), () => {
            if (settled) pipe.endAt('to-master').close('gave-up');
            else settle(() => resolve(pipe.endAt('to-master')));
          });
        });
      });
    });
  }

  remove(pipe: Pipe): void {
    this.#pipes.delete(pipe);
  }
}

const directionsOf = (direction?: Direction): Direction[] => (direction === undefined ? ['to-master', 'to-edge'] : [direction]);
const opposite = (direction: Direction): Direction => (direction === 'to-master' ? 'to-edge' : 'to-master');

type Item = { frame: string } | { end: string };

/** One TCP connection: two ends, named by the direction in which they send. */
class Pipe {
  readonly line: Line;
  readonly #ends: Record<Direction, End>;

  constructor(line: Line, edge: Incarnation, master: Incarnation) {
    this.line = line;
    this.#ends = { 'to-master': new End(this, 'to-master', [edge, master]), 'to-edge': new End(this, 'to-edge', [master, edge]) };
  }

  endAt(direction: Direction): End {
    return this.#ends[direction];
  }

  other(end: End): End {
    return this.#ends[opposite(end.direction)];
  }

  unstall(): void {
    for (const end of Object.values(this.#ends)) end.unstall();
  }

  forget(): void {
    for (const end of Object.values(this.#ends)) end.lost = true;
  }

  reset(): void {
    for (const end of Object.values(this.#ends)) this.other(end).ended('reset');
  }

  endedAt(machine: Machine, silently: boolean): void {
    for (const end of Object.values(this.#ends)) if (end.machine === machine) end.processEnded(silently);
  }

  closedEnd(): void {
    if (Object.values(this.#ends).every((end) => end.isClosed)) this.line.remove(this);
  }
}

class End implements Connection {
  readonly direction: Direction;
  readonly machine: Machine;
  readonly peerId: string;
  readonly peerProcess: string;
  readonly remote: string;
  /** Frames sent here go nowhere. */
  lost = false;
  readonly #pipe: Pipe;
  readonly #process: Incarnation;
  #handler: ConnectionHandler | null = null;
  readonly #early: Item[] = [];
  #closed = false;
  #told = false;
  /** What this end sent and a cut keeps from the other. */
  #stalled: Item[] = [];
  #stalledBytes = 0;
  #lastArrivalMs = 0;

  constructor(pipe: Pipe, direction: Direction, [process, other]: readonly [Incarnation, Incarnation]) {
    this.#pipe = pipe;
    this.direction = direction;
    const { edge, master } = pipe.line;
    const [machine, peer] = direction === 'to-master' ? [edge, master] : [master, edge];
    this.machine = machine;
    this.#process = process;
    this.peerId = peer.name;
    this.peerProcess = `${peer.name} ${other.number}`;
    this.remote = peer.name;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  send(frame: string): void {
    // Also drops what a dead process would still like to say.
    if (this.#closed || !this.#process.alive) return;
    this.#pipe.line.taps.sent(this.machine, frame);
    this.#ship({ frame: this.#pipe.line.rewrite(frame) });
  }

  bufferedBytes(): number {
    return this.#stalledBytes;
  }

  listen(handler: ConnectionHandler): void {
    this.#handler = handler;
    for (const item of this.#early.splice(0)) this.#take(item);
  }

  close(reason: string): void {
    if (this.#closed || !this.#process.alive) return;
    this.#ship({ end: reason });
    this.#closed = true;
    this.#pipe.closedEnd();
    // The event comes later, when its owner may have a new connection already.
    const { line } = this.#pipe;
    const laterMs = line.lanes[this.direction].cut ? line.random.between(100, 5_000) : 2 * line.transitMs(this.direction);
    line.timeline.after(laterMs, () => this.machine.deliver(this.#process, () => this.#tell(reason)));
  }

  unstall(): void {
    const stalled = this.#stalled;
    this.#stalled = [];
    const bytes = this.#stalledBytes;
    this.#stalledBytes = 0;
    // TCP tries again after a pause that has grown while the way was shut.
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, this.#pipe.line.timeline.nowMs + this.#pipe.line.random.between(20, 1_000));
    for (const item of stalled) this.#ship(item);
    if (bytes > 0 && !this.#closed) this.machine.deliver(this.#process, () => this.#handler?.drained());
  }

  /** The other side is gone, and this one is told when the news gets here. */
  ended(reason: string): void {
    const { line } = this.#pipe;
    if (this.#closed || line.lanes[opposite(this.direction)].cut) return;
    line.timeline.after(line.transitMs(opposite(this.direction)), () => this.#arrive({ end: reason }));
  }

  processEnded(silently: boolean): void {
    if (this.#closed) return;
    if (silently) this.lost = true;
    else this.#ship({ end: 'peer-died' });
    this.#closed = true;
    this.#pipe.closedEnd();
  }

  #ship(item: Item): void {
    if (this.lost) return;
    const { line } = this.#pipe;
    if (line.lanes[this.direction].cut) {
      this.#stalled.push(item);
      if ('frame' in item) this.#stalledBytes += item.frame.length;
      return;
    }
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, line.timeline.nowMs + line.transitMs(this.direction));
    const peer = this.#pipe.other(this);
    line.timeline.at(this.#lastArrivalMs, () => {
      if (!this.lost) peer.#arrive(item);
    });
  }

  #arrive(item: Item): void {
    if (this.#closed) {
      // Nobody is there any more: the sender is told.
      if ('frame' in item) this.#pipe.other(this).ended('reset');
      return;
    }
    this.machine.deliver(this.#process, () => {
      if (this.#handler === null) this.#early.push(item);
      else this.#take(item);
    });
  }

  #take(item: Item): void {
    if (this.#closed) return;
    if ('end' in item) return this.#end(item.end);
    this.#pipe.line.taps.arrived(this.machine);
    this.#handler?.frame(item.frame);
  }

  #end(reason: string): void {
    // What a cut still holds back arrives later: the kernel goes on for a closed socket.
    this.#closed = true;
    this.#pipe.closedEnd();
    this.#tell(reason);
  }

  #tell(reason: string): void {
    if (this.#told) return;
    this.#told = true;
    this.#handler?.closed(reason);
  }
}

export const createDialler = (line: Line, process: Incarnation): LinkDialler => ({
  dial: (_, signal) => line.dial(process, signal),
});

/** The master's listener: one line per edge leads to it. */
export function createListener(lines: () => Iterable<Line>, process: Incarnation): LinkListener {
  return {
    async start(onConnection) {
      for (const line of lines()) line.listen(process, onConnection);
      return { address: 'master:1' };
    },
    closePeer: () => undefined,
    async close() {
      for (const line of lines()) line.stopListening(process);
    },
  };
}
