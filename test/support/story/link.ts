import { controlMessageSchemas, type ControlMessage, type FromEdge, type FromMaster } from '../../../src/shared/control/messages.ts';
import { HoldfastError } from '../../../src/shared/model/errors.ts';
import type { Party } from '../../../src/shared/model/control.ts';
import { limits } from '../../../src/shared/model/limits.ts';
import type { Clock, Timer } from '../../../src/shared/ports/clock.ts';
import type { Connection, LinkDialler } from '../../../src/shared/ports/transport.ts';

export interface LinkUser {
  /** Is there a process at this end that listens? */
  alive(): boolean;
  message(link: number, message: ControlMessage): void;
  down(link: number, lastHeardAgoMs: number): void;
  /** A frame that is no message of the table. */
  refused(problem: string): void;
}

interface Link {
  number: number;
  open: Record<Party, boolean>;
  /** Sent into a dead cable: the peer's kernel sends it again, if the cable is mended in time. */
  stuck: (() => void)[];
}

const other = (party: Party): Party => (party === 'edge' ? 'master' : 'edge');

/** The way between one edge and the master: ordered and reliable while it lives, silent when it is cut. */
export class Network {
  /** One way. */
  delayMs = 10;
  /** A process that hangs: its kernel takes the frames, nobody reads them. */
  deaf: Party | null = null;
  readonly #clock: Clock;
  readonly #ends: Record<Party, LinkUser>;
  #links: Link[] = [];
  #count = 0;
  #cutAtMs: number | null = null;
  #notice: Timer | null = null;
  #mended: (() => void)[] = [];
  readonly #lastArrivalMs: Record<Party, number> = { edge: 0, master: 0 };

  constructor(clock: Clock, ends: Record<Party, LinkUser>) {
    this.#clock = clock;
    this.#ends = ends;
  }

  get newest(): number {
    return this.#count;
  }

  isUp(party: Party): boolean {
    return this.#links.some(({ open }) => open[party]);
  }

  /** The cable is pulled: nobody is told, each side notices when the heartbeats stay away. */
  cut(): void {
    if (this.#cutAtMs !== null) return;
    const cutAtMs = this.#clock.monotonicMs();
    this.#cutAtMs = cutAtMs;
    this.#notice = this.#clock.after(limits.linkDeadMs, () => {
      for (const link of this.#links) {
        this.#lose(link, 'edge', limits.linkDeadMs);
        this.#lose(link, 'master', limits.linkDeadMs);
      }
    });
  }

  heal(): void {
    this.#cutAtMs = null;
    this.#notice?.cancel();
    for (const link of this.#links) for (const send of link.stuck.splice(0)) send();
    for (const mended of this.#mended.splice(0)) mended();
  }

  /** A middlebox resets the connection: both ends see it now. */
  reset(): void {
    for (const link of this.#links) {
      this.#lose(link, 'edge', 0);
      this.#lose(link, 'master', 0);
    }
  }

  /** A process is gone. Its kernel closes the connection, unless the power went too. */
  gone(party: Party, powerLost: boolean): void {
    for (const link of this.#links.filter(({ open }) => open[party])) {
      link.open[party] = false;
      if (powerLost) this.#clock.after(limits.linkDeadMs, () => this.#lose(link, other(party), limits.linkDeadMs));
      else this.#carry(link, other(party), () => this.#lose(link, other(party), 0));
    }
  }

  dialler(): LinkDialler {
    return { dial: (_, signal) => this.#dial(signal) };
  }

  /** The edge's end of a proved connection becomes its link. */
  attach(): number {
    this.#count += 1;
    this.#links = this.#links.filter(({ open }) => open.edge || open.master);
    this.#links.push({ number: this.#count, open: { edge: true, master: true }, stuck: [] });
    return this.#count;
  }

  send(from: Party, number: number, message: FromEdge | FromMaster): void {
    this.sendFrame(from, number, JSON.stringify(message));
  }

  sendFrame(from: Party, number: number, frame: string): void {
    const link = this.#link(number);
    if (link?.open[from] !== true) return;
    this.#carry(link, other(from), () => this.#deliver(link, other(from), frame));
  }

  /** What was sent before still arrives. */
  close(party: Party, number: number): void {
    const link = this.#link(number);
    if (link?.open[party] !== true) return;
    this.#carry(link, other(party), () => this.#lose(link, other(party), 0));
    this.#clock.after(0, () => this.#lose(link, party, 0));
  }

  #link(number: number): Link | undefined {
    return this.#links.find((link) => link.number === number);
  }

  /** In order, whatever the delay was changed to in between. */
  #carry(link: Link, to: Party, arrive: () => void): void {
    if (this.#cutAtMs !== null) {
      link.stuck.push(() => this.#carry(link, to, arrive));
      return;
    }
    const nowMs = this.#clock.monotonicMs();
    this.#lastArrivalMs[to] = Math.max(this.#lastArrivalMs[to], nowMs + this.delayMs);
    this.#clock.after(this.#lastArrivalMs[to] - nowMs, () => {
      if (this.#cutAtMs === null) arrive();
      else link.stuck.push(() => this.#carry(link, to, arrive));
    });
  }

  #deliver(link: Link, to: Party, frame: string): void {
    if (!link.open[to] || this.deaf === to) return;
    const parsed = parseFrame(frame);
    if ('problem' in parsed) {
      this.#ends[to].refused(parsed.problem);
      this.close(to, link.number);
      return;
    }
    this.#ends[to].message(link.number, parsed.message);
  }

  #lose(link: Link, party: Party, lastHeardAgoMs: number): void {
    if (!link.open[party]) return;
    link.open[party] = false;
    this.#ends[party].down(link.number, lastHeardAgoMs);
  }

  async #dial(signal: AbortSignal): Promise<Connection> {
    const trip = (): Promise<void> => this.#clock.sleep(this.delayMs, signal);
    if (this.#cutAtMs !== null) {
      await new Promise<void>((resolve, reject) => {
        this.#mended.push(resolve);
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      });
    }
    await trip();
    if (!this.#ends.master.alive()) throw new HoldfastError('LINK_LOST', { fate: 'not-sent' });
    await trip();
    return proved;
  }
}

function parseFrame(frame: string): { message: ControlMessage } | { problem: string } {
  const input = JSON.parse(frame) as { t?: unknown };
  const schema = Object.entries(controlMessageSchemas).find(([type]) => type === input.t)?.[1];
  if (schema === undefined) return { problem: `unknown type ${JSON.stringify(input.t)}` };
  const parsed = schema.safeParse(input);
  if (parsed.success) return { message: parsed.data };
  return { problem: parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ') };
}

/** The network is reached by link number: all that the dialler needs to hand on is that the dialling worked. */
const proved: Connection = {
  peerId: 'master',
  peerProcess: '',
  remote: 'story',
  send: () => undefined,
  bufferedBytes: () => 0,
  listen: () => undefined,
  close: () => undefined,
};
