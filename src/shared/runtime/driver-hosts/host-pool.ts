import { backoffMs } from '../../foundation/backoff.ts';
import { limits } from '../../model/limits.ts';
import type { Clock, Timer } from '../../ports/clock.ts';
import type { HostProcess, HostProcesses } from '../../ports/host-process.ts';
import type { Log } from '../../ports/log.ts';
import type { Random } from '../../ports/random.ts';
import { type HostEnd, HostPeer, type HostPeerEvents, type Question } from './host-peer.ts';
import type { Answer } from './messages.ts';
import { Trial } from './trial.ts';

/** The place of one driver host: its process may be replaced, the modules stay with the place. */
export interface Slot {
  readonly name: string;
  /** null while it waits to be started again. */
  peer: HostPeer | null;
  /** Modules placed here. */
  load: number;
}

interface RunningSlot extends Slot {
  /** A driver that ended its host repeatedly is alone here. */
  readonly driver: string | null;
  failures: number;
  startedMs: number;
  restart: Timer | null;
}

export interface HostPoolOptions {
  clock: Clock;
  log: Log;
  random: Random;
  hostProcesses: HostProcesses;
  hosts: number;
  writeLog: string | null;
  nodeId: string;
}

export interface HostPoolEvents extends Omit<HostPeerEvents, 'ended'> {
  ended(slot: Slot, end: HostEnd): void;
  /** A process runs (again): tell it what it must know. */
  started(slot: Slot, peer: HostPeer): void;
}

/** A driver keeps its modules together until there are this many of them. */
const TOGETHER = 64;

/**
 * The driver host processes of a node. They are started before they are needed, so that a takeover does not wait for a process.
 *
 * Placement: by driver, so that a bad driver costs the modules of few others: the first 64 modules of a driver go to
 * the host that the driver's name points to. Further ones go to the host with the fewest modules, because a driver with
 * hundreds of modules is better served by all cores. When a driver ends its host, the modules of others move to a host
 * that runs; a driver that did it twice gets a host of its own.
 */
export class HostPool {
  readonly #options: HostPoolOptions;
  readonly #events: HostPoolEvents;
  readonly #slots: RunningSlot[] = [];
  readonly #modulesOfDriver = new Map<string, number>();
  readonly #strikes = new Map<string, { count: number; lastMs: number }>();
  readonly #trials = new Set<Trial>();
  #closed = false;

  constructor(options: HostPoolOptions, events: HostPoolEvents) {
    this.#options = options;
    this.#events = events;
  }

  /** Starts the processes, unless they are. */
  open(): void {
    if (this.#closed || this.#slots.length > 0) return;
    const hosts = Math.max(1, this.#options.hosts);
    for (let index = 0; index < hosts; index += 1) this.#startProcess(this.#addSlot(`host-${index}`, null));
  }

  /** Where a module of this driver goes. Give the place back with `release`. */
  place(driver: string): Slot {
    this.open();
    const count = this.#modulesOfDriver.get(driver) ?? 0;
    this.#modulesOfDriver.set(driver, count + 1);
    const shared = this.#slots.filter((slot) => slot.driver === null);
    const slot =
      this.#slots.find((own) => own.driver === driver) ??
      (count < TOGETHER ? shared[hash(driver) % shared.length] : undefined) ??
      shared.reduce((least, other) => (other.load < least.load ? other : least));
    slot.load += 1;
    return slot;
  }

  /** One more module of this driver at a host that has its code. */
  placeAt(slot: Slot, driver: string): Slot {
    this.#modulesOfDriver.set(driver, (this.#modulesOfDriver.get(driver) ?? 0) + 1);
    slot.load += 1;
    return slot;
  }

  release(slot: Slot, driver: string): void {
    slot.load -= 1;
    this.#modulesOfDriver.set(driver, (this.#modulesOfDriver.get(driver) ?? 1) - 1);
  }

  /** A host that runs, for modules that lost theirs; null: there is no other. */
  refuge(lost: Slot): Slot | null {
    const running = this.#slots.filter((slot) => slot !== lost && slot.driver === null && slot.peer !== null);
    return running.reduce<Slot | null>((least, slot) => (least === null || slot.load < least.load ? slot : least), null);
  }

  move(placed: { slot: Slot }, slot: Slot): void {
    placed.slot.load -= 1;
    placed.slot = slot;
    slot.load += 1;
  }

  /**
   * The driver ended its host. At the second time it gets one of its own, after a pause.
   * Returns that; null: it has none.
   */
  blame(driver: string): Slot | null {
    const { clock, log } = this.#options;
    const nowMs = clock.monotonicMs();
    const before = this.#strikes.get(driver);
    const count = before === undefined || nowMs - before.lastMs > limits.driverForgiveMs ? 1 : before.count + 1;
    this.#strikes.set(driver, { count, lastMs: nowMs });
    const own = this.#slots.find((slot) => slot.driver === driver);
    if (own !== undefined) return own;
    if (count < limits.driverStrikes) return null;
    log.warn('driver-isolated', { driver, strikes: count });
    const slot = this.#addSlot(`driver ${driver}`, driver);
    this.#restartLater(slot);
    return slot;
  }

  *peers(): Generator<HostPeer> {
    for (const { peer } of this.#slots) if (peer !== null) yield peer;
  }

  /**
   * Asks a process of its own, so that code which ends its process, or never comes back, ends none that has modules. null:
   * it ended that one, for the reason given.
   */
  async askTrial(question: Question): Promise<{ answer: Answer | null; reason: string }> {
    const { clock, hostProcesses } = this.#options;
    const trial = new Trial(hostProcesses.startTrial(), { clock, log: this.#trialLog }, { hide: this.#events.hide });
    this.#trials.add(trial);
    const { answer, end } = await trial.ask(question);
    // Nobody waits for its end but a shutdown.
    void trial.close().then(() => this.#trials.delete(trial));
    return { answer, reason: end?.reason ?? '' };
  }

  /** Its end is an answer, and no news. */
  get #trialLog(): Log {
    const { log } = this.#options;
    const debug = (said: string, facts?: object): void => log.debug('driver-trial', { said, ...facts });
    const quiet: Log = { debug, info: debug, warn: debug, error: debug, child: () => quiet };
    return quiet;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const slot of this.#slots) slot.restart?.cancel();
    await Promise.all([...this.peers(), ...this.#trials].map((peer) => peer.close()));
  }

  #addSlot(name: string, driver: string | null): RunningSlot {
    const slot: RunningSlot = { name, driver, peer: null, load: 0, failures: 0, startedMs: 0, restart: null };
    this.#slots.push(slot);
    return slot;
  }

  #startProcess(slot: RunningSlot): void {
    const { clock, log, hostProcesses, writeLog, nodeId } = this.#options;
    const process: HostProcess = hostProcesses.start({ writeLog, nodeId });
    slot.startedMs = clock.monotonicMs();
    slot.restart = null;
    slot.peer = new HostPeer(process, { clock, log }, { ...this.#events, ended: (end) => this.#onEnded(slot, end) });
    log.info('driver-host-started', { slot: slot.name, pid: process.pid });
    this.#events.started(slot, slot.peer);
  }

  #onEnded(slot: RunningSlot, end: HostEnd): void {
    slot.peer = null;
    if (this.#closed) return;
    this.#events.ended(slot, end);
    this.#restartLater(slot);
  }

  #restartLater(slot: RunningSlot): void {
    const { clock, random } = this.#options;
    const isolated = slot.driver !== null;
    const maxMs = isolated ? limits.driverRestartMaxMs : limits.hostRestartMaxMs;
    if (slot.startedMs > 0 && clock.monotonicMs() - slot.startedMs > maxMs) slot.failures = 0;
    const firstMs = isolated ? limits.driverRestartMinMs : limits.hostRestartMinMs;
    // Its other modules must be back within a second: the first replacement comes at once.
    const backoff = { firstMs, maxMs, factor: 2, jitter: 0.2 };
    const delayMs = !isolated && slot.failures === 0 ? 0 : backoffMs(backoff, slot.failures, random.next());
    slot.failures += 1;
    slot.restart = clock.after(delayMs, () => this.#startProcess(slot));
  }
}

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193) >>> 0;
  }
  return value;
}
