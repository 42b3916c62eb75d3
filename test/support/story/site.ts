import { bootEdge, type EdgeControl, type EdgeEvent, type EdgeTimer, refuseOverride } from '../../../src/shared/control/edge-control.ts';
import { stepEdge } from '../../../src/shared/control/edge-step.ts';
import { formatEpoch } from '../../../src/shared/control/epoch.ts';
import { defaultTimings } from '../../../src/shared/control/lease.ts';
import {
  bootMaster,
  type MasterControl,
  type MasterEvent,
  type MasterOrder,
  type MasterTimer,
  refuseOrder,
} from '../../../src/shared/control/master-control.ts';
import { stepMaster } from '../../../src/shared/control/master-step.ts';
import type { FromEdge, FromMaster } from '../../../src/shared/control/messages.ts';
import { dialLoop } from '../../../src/edge/dial-loop.ts';
import type { Party, Terms } from '../../../src/shared/model/control.ts';
import type { Clock } from '../../../src/shared/ports/clock.ts';
import type { JournalEntry } from '../../../src/shared/ports/control-journal.ts';
import { silentLog } from '../silent-log.ts';
import { Disk } from './disk.ts';
import { Judge } from './judge.ts';
import { Network } from './link.ts';
import { ModuleHost } from './module-host.ts';
import { SkewedClock } from './skewed-clock.ts';
import { StoryNode } from './story-node.ts';
import type { Transcript } from './transcript.ts';

export interface SiteWorld {
  clock: Clock;
  transcript: Transcript;
  masterDisk: Disk;
  masterRuns(): boolean;
  showsRenewals(): boolean;
  /** A machine of the master moved: the wait for edges may be over. */
  masterStepped(): void;
}

type EdgeNode = StoryNode<EdgeControl, EdgeEvent, FromEdge, EdgeTimer>;
type MasterNode = StoryNode<MasterControl, MasterEvent, FromMaster, MasterTimer>;

/** One location: its edge, the master's half of it, and the way between them. */
export class Site {
  readonly name: string;
  readonly network: Network;
  readonly edgeClock: SkewedClock;
  readonly edgeDisk: Disk;
  readonly judge = new Judge();
  readonly modules: Record<Party, ModuleHost>;
  terms: Terms;
  edge: EdgeNode | null = null;
  master: MasterNode | null = null;
  readonly #world: SiteWorld;
  #window = 0;
  #dialling: AbortController | null = null;
  #linkGone: (() => void) | null = null;
  #negotiated = false;

  constructor(name: string, terms: Terms, world: SiteWorld) {
    this.name = name;
    this.terms = terms;
    this.#world = world;
    this.edgeClock = new SkewedClock(world.clock);
    this.edgeDisk = new Disk(world.clock);
    const gate = (): void => this.#gateMoved();
    this.modules = { edge: new ModuleHost(this.edgeClock, gate), master: new ModuleHost(world.clock, gate) };
    this.network = new Network(world.clock, {
      edge: {
        alive: () => this.edge !== null,
        message: (link, message) => {
          if (message.t === 'negotiate') this.#negotiated = true;
          this.edge?.post({ type: 'message', nowMs: this.edgeClock.monotonicMs(), link, message: message as FromMaster });
        },
        down: (link) => {
          this.edge?.post({ type: 'link-down', nowMs: this.edgeClock.monotonicMs(), link });
          this.#linkGone?.();
        },
        refused: (problem) => this.#tell('edge', `refuses a frame: ${problem}`),
      },
      master: {
        alive: () => world.masterRuns(),
        message: (link, message) => {
          this.master?.post({ type: 'message', nowMs: world.clock.monotonicMs(), link, message: message as FromEdge });
        },
        down: (link, lastHeardAgoMs) => {
          const nowMs = world.clock.monotonicMs();
          this.master?.post({ type: 'link-down', nowMs, link, lastHeardMs: nowMs - lastHeardAgoMs });
        },
        refused: (problem) => this.#tell('master', `refuses a frame: ${problem}`),
      },
    });
  }

  // ── The edge ──────────────────────────────────────────────────────────────

  async bootEdge(): Promise<void> {
    const stored = await this.edgeDisk.entry(this.name);
    const { clock, transcript } = this.#world;
    const edge: EdgeNode = new StoryNode<EdgeControl, EdgeEvent, FromEdge, EdgeTimer>({
      who: `${this.name} edge`,
      peer: 'master',
      location: this.name,
      clock: this.edgeClock,
      journal: this.edgeDisk.journal,
      slowDisk: () => this.edgeDisk.delayMs > 0,
      modules: this.modules.edge,
      transcript,
      stored,
      initial: bootEdge(stored, this.terms),
      step: (state, event) => stepEdge(state, event, defaultTimings),
      fromShell: (event) => event,
      send: (link, message) => this.network.send('edge', link, message),
      close: (link) => this.network.close('edge', link),
      hidesRenewals: () => !this.#world.showsRenewals(),
      onStored: (record) => this.judge.stored('edge', record),
      onStep: () => undefined,
    });
    this.edge = edge;
    edge.post({ type: 'loaded', nowMs: this.edgeClock.monotonicMs() });
    const stop = new AbortController();
    this.#dialling = stop;
    void dialLoop(
      {
        clock,
        random: { next: () => 0.5, hex: () => '' },
        log: silentLog,
        dialler: this.network.dialler(),
        addresses: ['master'],
        use: () => this.#useLink(edge),
        failed: () => edge.post({ type: 'dial-failed', nowMs: this.edgeClock.monotonicMs() }),
      },
      stop.signal,
    );
  }

  /** The process ends; with the power, the connection ends without a word. */
  stopEdge(powerLost: boolean): void {
    this.#dialling?.abort(new Error('the edge is gone'));
    this.edge?.kill();
    this.edge = null;
    this.edgeDisk.crash();
    this.network.gone('edge', powerLost);
    this.#linkGone?.();
  }

  override(): string | null {
    if (this.edge === null) return 'the edge is down';
    const refusal = refuseOverride(this.edge.state);
    if (refusal === null) this.edge.post({ type: 'override', nowMs: this.edgeClock.monotonicMs() });
    return refusal;
  }

  #useLink(edge: EdgeNode): Promise<{ negotiated: boolean }> {
    this.#negotiated = false;
    const gone = new Promise<{ negotiated: boolean }>((resolve) => {
      this.#linkGone = () => resolve({ negotiated: this.#negotiated });
    });
    edge.post({ type: 'link-up', nowMs: this.edgeClock.monotonicMs(), link: this.network.attach() });
    return gone;
  }

  // ── The master's half ─────────────────────────────────────────────────────

  async bootMaster(): Promise<void> {
    const { clock, transcript, masterDisk } = this.#world;
    const stored: JournalEntry | null = await masterDisk.entry(this.name);
    this.master = new StoryNode<MasterControl, MasterEvent, FromMaster, MasterTimer>({
      who: `${this.name} master`,
      peer: 'edge',
      location: this.name,
      clock,
      journal: masterDisk.journal,
      slowDisk: () => masterDisk.delayMs > 0,
      modules: this.modules.master,
      transcript,
      stored,
      initial: bootMaster(stored, this.terms, clock.monotonicMs(), defaultTimings),
      step: (state, event) => stepMaster(state, event, defaultTimings),
      fromShell: (event) => event,
      send: (link, message) => this.network.send('master', link, message),
      close: (link) => this.network.close('master', link),
      hidesRenewals: () => !this.#world.showsRenewals(),
      onStored: (record) => this.judge.stored('master', record),
      onStep: () => this.#world.masterStepped(),
    });
    if (this.#window % 2 === 1) this.#postWindow();
  }

  booted(): void {
    this.master?.post({ type: 'booted', nowMs: this.#world.clock.monotonicMs() });
  }

  stopMaster(powerLost: boolean): void {
    this.master?.kill();
    this.master = null;
    this.network.gone('master', powerLost);
  }

  setWindow(open: boolean): void {
    if ((this.#window % 2 === 1) === open) return;
    this.#window += 1;
    this.#postWindow();
  }

  setTerms(terms: Terms): void {
    this.terms = terms;
    this.master?.post({ type: 'terms', nowMs: this.#world.clock.monotonicMs(), terms });
  }

  order(order: MasterOrder): string | null {
    if (this.master === null) return 'the master is down';
    const refusal = refuseOrder(this.master.state, order);
    if (refusal === null) this.master.post({ type: 'order', nowMs: this.#world.clock.monotonicMs(), order });
    return refusal;
  }

  #postWindow(): void {
    const open = this.#window % 2 === 1;
    this.master?.post({ type: 'window', nowMs: this.#world.clock.monotonicMs(), open, occurrence: open ? this.#window : 0 });
  }

  // ── Seen from outside ─────────────────────────────────────────────────────

  /** One line: what each side believes, and who drives the devices. */
  holder(): string {
    const drivers = (['edge', 'master'] as const).filter((party) => this.modules[party].writesUnder !== null);
    const link = this.network.isUp('edge') && this.network.isUp('master') ? 'up' : 'down';
    const drives = drivers.length === 0 ? 'nobody' : drivers.join(' AND ');
    return `edge: ${this.#view('edge')}  master: ${this.#view('master')}  drives: ${drives}  link: ${link}`;
  }

  #view(party: Party): string {
    const state = (party === 'edge' ? this.edge : this.master)?.state;
    if (state === undefined) return 'down';
    const { holder, floor, reason } = state.durable;
    return `${holder} (${state.state}, ${formatEpoch(floor)}, ${reason})`;
  }

  #gateMoved(): void {
    const edge = { journal: this.edge?.journal ?? null, override: this.edge?.state.override ?? false };
    const master = { journal: this.master?.journal ?? null, override: false };
    const news = this.judge.gatesMoved(
      this.#world.clock.monotonicMs(),
      { ...edge, writesUnder: this.modules.edge.writesUnder },
      { ...master, writesUnder: this.modules.master.writesUnder },
    );
    // After the step that moved the gate has been told.
    if (news !== null) this.#world.clock.after(0, () => this.#world.transcript.tell(this.name, news));
  }

  #tell(party: Party, what: string): void {
    this.#world.transcript.tell(`${this.name} ${party}`, what);
  }
}
