import { EdgeNode } from '../edge/edge-node.ts';
import { MasterNode } from '../master/master-node.ts';
import type { EdgeControl, EdgeEvent } from '../shared/control/edge-control.ts';
import type { MasterControl, MasterEvent } from '../shared/control/master-control.ts';
import { createMemoryJournal, type MemoryJournal } from '../shared/adapters/store-memory/memory-journal.ts';
import type { Party } from '../shared/model/control.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import type { ControlJournal, JournalEntry } from '../shared/ports/control-journal.ts';
import type { DocumentStore } from '../shared/ports/document-store.ts';
import type { Log } from '../shared/ports/log.ts';
import type { Metrics } from '../shared/ports/metrics.ts';
import type { LinkDialler, LinkListener } from '../shared/ports/transport.ts';
import type { WebhookRequest } from '../shared/ports/webhooks.ts';
import { type DeviceLinkTap, SimDeviceLink } from './device-link.ts';
import type { DeviceWorld } from './devices.ts';
import type { Incarnation, Machine } from './machine.ts';
import { SimRandom } from './random.ts';

/** What a judge hears of one node. */
export interface SeatTap extends DeviceLinkTap {
  log(level: 'info' | 'warn' | 'error', event: string, facts: object): void;
  booting(entries: JournalEntry[]): void;
  writing(entry: JournalEntry): void;
  written(entry: JournalEntry): void;
  notWritten(entry: JournalEntry): void;
  edgeStepped(previous: EdgeControl, next: EdgeControl, event: EdgeEvent): void;
  masterStepped(location: string, previous: MasterControl, next: MasterControl, event: MasterEvent): void;
}

export interface SeatOptions {
  party: Party;
  machine: Machine;
  /** Of the node; an edge has that of its location. */
  id: string;
  seed: string;
  store: DocumentStore;
  devices: DeviceWorld;
  tap: SeatTap;
  /** A node that cannot start ends its process. */
  startFailed(seat: Seat): void;
  dialler?: (process: Incarnation) => LinkDialler;
  listener?: (process: Incarnation) => LinkListener;
}

const WEBHOOK_MS = 20;

/** A machine, what it keeps on its disk, and the node that runs on it, if one does. */
export class Seat {
  readonly party: Party;
  readonly id: string;
  readonly machine: Machine;
  readonly store: DocumentStore;
  readonly disk = { slowMs: 0, full: false };
  /** Bodies of the webhooks that its triggers have sent. */
  readonly posts: string[] = [];
  readonly #options: SeatOptions;
  readonly #journal: MemoryJournal;
  readonly #random: SimRandom;
  readonly #remembered = new Map<string, string>();
  readonly #credentials = {
    get: (key: string): string | null => this.#remembered.get(key) ?? null,
    set: async (key: string, value: string): Promise<void> => void this.#remembered.set(key, value),
  };
  /** Writes that the journal has taken but not yet resolved. */
  #unsynced = 0;
  #node: EdgeNode | MasterNode | null = null;
  #hands: SimDeviceLink | null = null;

  constructor(options: SeatOptions) {
    this.#options = options;
    this.party = options.party;
    this.id = options.id;
    this.machine = options.machine;
    this.store = options.store;
    this.#random = new SimRandom(`${options.seed}/${options.id}`);
    this.#journal = createMemoryJournal({
      clock: this.machine.diskClock(),
      delayMs: () => this.#random.between(0.2, 3) + this.#random.next() * this.disk.slowMs,
      fail: () => (this.disk.full ? new HoldfastError('STORE_FULL', { path: this.id }) : null),
    });
  }

  get node(): EdgeNode | MasterNode | null {
    return this.#node;
  }

  get hands(): SimDeviceLink | null {
    return this.#hands;
  }

  get running(): boolean {
    return this.machine.process !== null;
  }

  boot(): void {
    if (this.running) return;
    const process = this.machine.boot();
    const { machine, devices, tap, party, dialler, listener } = this.#options;
    const hands = new SimDeviceLink(machine, process, devices, tap);
    this.#hands = hands;
    const ports = {
      clock: machine.clockOf(process),
      random: new SimRandom(`${this.#options.seed}/${this.id}/${process.number}`),
      log: this.#log(process),
      metrics: noMetrics,
      journal: this.#journalOf(process),
      store: this.#storeOf(process),
      deviceLink: hands,
      credentials: this.#credentials,
      webhooks: { post: (request: WebhookRequest): Promise<number> => this.#posted(process, request) },
    };
    if (party === 'edge' && dialler !== undefined) {
      const onStep = (previous: EdgeControl, next: EdgeControl, event: EdgeEvent): void => tap.edgeStepped(previous, next, event);
      this.#node = new EdgeNode({ ...ports, dialler: dialler(process) }, { id: this.id, addresses: ['master:1'], onStep });
    } else if (listener !== undefined) {
      const onStep = tap.masterStepped.bind(tap);
      this.#node = new MasterNode({ ...ports, listener: listener(process), enrolment: noEnrolment }, { id: this.id, onStep });
    }
    this.#node?.start().catch((error: unknown) => this.#failed(process, error));
  }

  /** The process ends without a word. `power`: the machine too, and nobody tells those who were connected. */
  kill(power: boolean): void {
    if (!this.running) return;
    this.#hands?.die(power);
    this.machine.kill();
    this.#journal.crash(power ? Math.floor(this.#random.next() * (this.#unsynced + 1)) : this.#unsynced);
    this.#unsynced = 0;
    this.#node = null;
    this.#hands = null;
  }

  /** An orderly stop. */
  async stop(): Promise<void> {
    const { process } = this.machine;
    await this.#node?.stop();
    if (process !== null && this.machine.process === process) this.kill(false);
  }

  /** The world outside takes everything, after a moment. */
  #posted(process: Incarnation, { body }: WebhookRequest): Promise<number> {
    this.posts.push(body);
    return new Promise((resolve) => void this.machine.clockOf(process).after(WEBHOOK_MS, () => resolve(204)));
  }

  #failed(process: Incarnation, error: unknown): void {
    if (!process.alive) return;
    this.#options.tap.log('error', 'node-failed', { error });
    if (error instanceof HoldfastError) this.#options.startFailed(this);
    else throw error;
  }

  #log(process: Incarnation): Log {
    const { tap } = this.#options;
    const say = (level: 'info' | 'warn' | 'error') => (event: string, facts: object = {}): void => {
      if (process.alive) tap.log(level, event, facts);
    };
    const log: Log = { debug: () => undefined, info: say('info'), warn: say('warn'), error: say('error'), child: () => log };
    return log;
  }

  #journalOf(process: Incarnation): ControlJournal {
    const { tap } = this.#options;
    const journal = this.#journal;
    const guarded = <T>(work: () => Promise<T>): Promise<T> => (process.alive ? work() : new Promise<T>(() => undefined));
    return {
      load: () =>
        guarded(async () => {
          const entries = await journal.load();
          tap.booting(entries);
          return entries;
        }),
      write: (entry) =>
        guarded(() => {
          this.#unsynced += 1;
          tap.writing(entry);
          return this.#written(journal.write(entry), entry);
        }),
      record: (entry) => {
        if (process.alive) journal.record(entry);
      },
      history: (location, limit) => guarded(() => journal.history(location, limit)),
      alive: (location, wallMs) => {
        if (process.alive) journal.alive(location, wallMs);
      },
      lastAlive: (location) => guarded(() => journal.lastAlive(location)),
      rememberTriggers: (location, memories, forget) =>
        guarded(async () => {
          this.#unsynced += 1;
          try {
            await journal.rememberTriggers(location, memories, forget);
          } finally {
            this.#unsynced -= 1;
          }
        }),
      triggers: (location) => guarded(() => journal.triggers(location)),
      close: () => journal.close(),
    };
  }

  async #written(write: Promise<void>, entry: JournalEntry): Promise<void> {
    const { tap } = this.#options;
    try {
      await write;
      tap.written(entry);
    } catch (error) {
      tap.notWritten(entry);
      throw error;
    } finally {
      this.#unsynced -= 1;
    }
  }

  #storeOf(process: Incarnation): DocumentStore {
    const { store, machine } = this;
    const clock = machine.clockOf(process);
    const slowly = async <T>(work: () => Promise<T>): Promise<T> => {
      const delayMs = this.#random.between(0.5, 3) + this.#random.next() * this.disk.slowMs;
      await new Promise<void>((resolve) => void clock.after(delayMs, resolve));
      if (this.disk.full) throw new HoldfastError('STORE_FULL', { path: this.id });
      return work();
    };
    return {
      get: (id) => store.get(id),
      list: (kind, options) => store.list(kind, options),
      systemsOf: (location) => store.systemsOf(location),
      modulesOf: (location) => store.modulesOf(location),
      head: () => store.head(),
      changesSince: (cursor, limit) => store.changesSince(cursor, limit),
      cursor: () => store.cursor(),
      onChange: (listener) => store.onChange((head, touched) => machine.deliver(process, () => listener(head, touched))),
      apply: (changes) => slowly(() => store.apply(changes)),
      applyFeed: (entries, cursor) => slowly(() => store.applyFeed(entries, cursor)),
      replaceAll: (documents, cursor) => slowly(() => store.replaceAll(documents, cursor)),
      close: () => Promise.resolve(),
    };
  }
}

const noMetrics: Metrics = { add: () => undefined, set: () => undefined, read: () => 0 };

const notHere = (): Promise<never> => Promise.reject(new HoldfastError('ORDER_REFUSED', { location: '', reason: 'not simulated' }));
const noEnrolment = { add: notHere, rotate: notHere, revoke: notHere };
