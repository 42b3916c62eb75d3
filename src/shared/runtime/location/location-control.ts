import { formatEpoch, isOlder, partyOf, sameEpoch } from '../../control/epoch.ts';
import type { ControlMessage } from '../../control/messages.ts';
import type { Action, AtOnce, Durable, ShellEvent, Step } from '../../control/step.ts';
import type { Epoch } from '../../model/control.ts';
import type { HistoryEntry, JournalEntry } from '../../ports/control-journal.ts';
import { ALIVE_MS, AliveMarks } from './alive-marks.ts';
import { HeldTimes } from './held-times.ts';
import { LocationShell, type LocationShellOptions } from './location-shell.ts';
import type { ControlEvent } from '../node.ts';
import { type RunnerEvent, StepRunner } from './step-runner.ts';

interface ControlState {
  state: string;
  durable: Durable;
}

export interface LocationControlOptions<State extends ControlState, Event extends RunnerEvent, Message extends ControlMessage, TimerName extends string>
  extends Omit<LocationShellOptions<Message>, 'post'> {
  initial: State;
  step(state: State, event: Event): Step<State, Message, TimerName>;
  /** Narrows what the shell reports to events of this machine. */
  fromShell(event: ShellEvent | { type: 'timer'; nowMs: number; timer: TimerName }): Event;
  stored: JournalEntry | null;
  /** Newest first, as the journal gives it. */
  history: HistoryEntry[];
  /** Wall time at which an earlier boot last said that it drives. */
  aliveMs: number | null;
  /** Is somebody listening at the other end of the link? */
  linked(): boolean;
  /** After each step, whatever it changed. */
  onStep?(previous: State, next: State, event: Event): void;
}

/** One location under control of one machine: the pure steps, their runner and shell, and the history they write. */
export class LocationControl<State extends ControlState, Event extends RunnerEvent, Message extends ControlMessage, TimerName extends string> {
  readonly held: HeldTimes;
  readonly #options: LocationControlOptions<State, Event, Message, TimerName>;
  readonly #shell: LocationShell<Message, TimerName>;
  readonly #runner: StepRunner<State, Event, Message, TimerName>;
  readonly #listeners = new Set<(event: ControlEvent) => void>();
  readonly #stepListeners = new Set<() => void>();
  readonly #alive: AliveMarks;
  /** The highest that the machine, which may wait for its disk, has not taken yet. */
  #heard: { epoch: Epoch; link: number } | null = null;

  constructor(options: LocationControlOptions<State, Event, Message, TimerName>) {
    this.#options = options;
    this.held = new HeldTimes(options.clock, [...options.history].reverse(), options.aliveMs);
    const { clock, journal, linked, location } = options;
    this.#alive = new AliveMarks({ clock, linked, holding: () => this.held.holding, say: (wallMs) => journal.alive(location, wallMs) });
    const { crashed } = this.held;
    // Without this line the next boot would take the crashed interval for one that lasted until now.
    if (crashed !== null) {
      const { state, durable } = options.initial;
      options.journal.record({ location: options.location, wallMs: crashed.wallMs, holder: 'none', state, reason: durable.reason, epoch: crashed.epoch });
    }
    const fromShell = options.fromShell as (event: ShellEvent | { type: 'timer'; nowMs: number; timer: string }) => Event;
    const stored = storedRecord(options.stored);
    const shell = new LocationShell<Message, TimerName>({ ...options, post: (event) => this.post(fromShell(event)) }, stored);
    this.#shell = shell;
    options.log.debug('control-booted', { location: options.location, stored: stored?.record ?? null, record: options.initial.durable });
    this.#runner = new StepRunner<State, Event, Message, TimerName>({
      initial: options.initial,
      initialRecord: shell.needsStoring(options.initial.durable) ? options.initial.durable : null,
      step: (state, event) => options.step(state, event),
      journalFailed: (cause) => fromShell({ type: 'journal-failed', nowMs: options.clock.monotonicMs(), link: linkOf(cause) }),
      shell: {
        atOnce: (effect) => this.#atOnce(effect),
        persist: (record) => this.#persist(record),
        send: (link, message) => this.#send(link, message),
        run: (action) => this.#run(action),
      },
      onStep: (previous, next, reason, event) => this.#onStep({ previous, next, reason, event }),
    });
  }

  get state(): State {
    return this.#runner.state;
  }

  get sinceMs(): number {
    return this.#shell.sinceMs;
  }

  get modules(): { running: number; failing: number } {
    return this.#shell.modules;
  }

  post(event: Event): void {
    this.#runner.post(event);
  }

  /** Called after each step, also one that moves nothing. Returns the way to stop. */
  onAnyStep(listener: () => void): () => void {
    this.#stepListeners.add(listener);
    return () => {
      this.#stepListeners.delete(listener);
    };
  }

  /** Each change of state, holder or epoch. Returns the way to stop. */
  onChange(listener: (event: ControlEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** The other node reports or asks under an epoch of which this one did not know: the next claim has to be above it. */
  hear(epoch: Epoch, link: number): void {
    if (this.#heard !== null) {
      if (isOlder(this.#heard.epoch, epoch)) this.#heard = { epoch, link };
      return;
    }
    this.#heard = { epoch, link };
    this.post(this.#options.fromShell({ type: 'epoch-heard', nowMs: this.#options.clock.monotonicMs(), link, epoch }));
  }

  /** One at a time: each is a write to the disk. If that fails the link is closed, and the next hello tells. */
  #tookHeard(event: RunnerEvent, floor: Epoch): void {
    const heard = this.#heard;
    if (heard === null || (event.type !== 'epoch-heard' && event.type !== 'journal-failed')) return;
    this.#heard = null;
    if (event.type === 'epoch-heard' && isOlder(floor, heard.epoch)) this.hear(heard.epoch, heard.link);
  }

  /** The machine waits for its disk, and this many events for the machine. */
  get waiting(): number {
    return this.#runner.waiting;
  }

  /** The documents changed: what runs is brought in line, nothing else is touched. */
  converge(): void {
    const { state, durable } = this.#runner.state;
    if (state === 'holding') this.#shell.converge(durable.epoch);
  }

  close(): void {
    this.#alive.close();
    this.#options.triggers.drive(null);
    this.#runner.stop();
    this.#shell.close();
  }

  #atOnce(effect: AtOnce): void {
    this.#options.triggers.drive(null);
    const agoMs = this.held.ended();
    this.#shell.atOnce(effect);
    if (agoMs > ALIVE_MS) this.#recordLeaseEnd(agoMs);
  }

  /** A frozen process lets go later than its lease ended: without this line the next boot would take it for having held until then. */
  #recordLeaseEnd(agoMs: number): void {
    const { clock, journal, location } = this.#options;
    const { durable } = this.state;
    journal.record({ location, wallMs: clock.wallMs() - agoMs, holder: 'none', state: 'releasing', reason: 'lease-ended', epoch: durable.epoch });
  }

  async #persist(record: Durable): Promise<void> {
    const { location, log } = this.#options;
    await this.#shell.persist(record);
    log.debug('control-stored', { location, record });
  }

  #send(link: number, message: Message): void {
    const { location, log } = this.#options;
    this.#shell.send(link, message);
    // The snapshot is large, and the business of the drivers.
    log.debug('control-sent', { location, state: this.state.state, message: 'snapshot' in message ? { ...message, snapshot: null } : message });
  }

  #run(action: Action<TimerName>): void {
    if (action.type === 'start-modules') {
      this.held.began(action.epoch);
      this.#alive.begin();
    }
    if (action.type === 'set-lease') this.held.lease(action.untilMs);
    if (action.type === 'stop-modules') {
      this.#options.triggers.drive(null);
      this.held.ended();
    }
    this.#shell.run(action);
  }

  /** A line of the history: who holds, and under which epoch. */
  #recordHolder({ state, durable: { holder, reason, floor } }: State): void {
    const { location, clock, journal } = this.#options;
    journal.record({ location, wallMs: clock.wallMs(), holder, state, reason, epoch: floor });
  }

  #onStep({ previous, next, reason, event }: { previous: State; next: State; reason: string; event: Event }): void {
    const { location, clock, journal, log, metrics } = this.#options;
    const holderMoved = previous.durable.holder !== next.durable.holder;
    if (previous.state !== next.state || holderMoved || !sameEpoch(previous.durable.epoch, next.durable.epoch)) {
      const { holder, floor, epoch } = next.durable;
      const moved: ControlEvent = { location, holder, state: next.state, reason, epoch: floor, atMs: clock.wallMs() };
      // Of our own times the next boot reads this back; those of the other side are under what was heard of it.
      journal.record({ location, wallMs: moved.atMs, holder, state: next.state, reason, epoch: partyOf(epoch) === holder ? epoch : floor });
      log.info('control', { location, from: previous.state, state: next.state, holder, reason, epoch: formatEpoch(floor) });
      if (holderMoved) metrics.add('holdfast_control_moves_total', { location, to: holder, reason });
      for (const party of ['edge', 'master', 'none'] as const) {
        metrics.set('holdfast_control_holder', { location, holder: party }, party === holder ? 1 : 0);
      }
      metrics.set('holdfast_control_epoch', { location }, floor.number);
      for (const listener of this.#listeners) listener(moved);
    } else {
      if (heardOfHolder(previous.durable, next.durable)) this.#recordHolder(next);
      log.debug('control-step', { location, state: next.state, reason, on: event.type });
    }
    // Last to start, first to stop, and re-stamped like any command.
    this.#options.triggers.drive(next.state === 'holding' ? next.durable.epoch : null);
    // Documents may have changed while the modules were starting.
    if (previous.state !== 'holding' && next.state === 'holding') this.converge();
    this.#tookHeard(event, next.durable.floor);
    this.#options.onStep?.(previous, next, event);
    for (const listener of this.#stepListeners) listener();
  }
}

/** The other side holds, and only now it is known under which epoch. */
const heardOfHolder = (previous: Durable, { epoch, floor, holder }: Durable): boolean =>
  !sameEpoch(previous.floor, floor) && partyOf(floor) === holder && partyOf(epoch) !== holder;

const linkOf = (event: RunnerEvent): number | null => ('link' in event && typeof event.link === 'number' ? event.link : null);

function storedRecord(entry: JournalEntry | null): { record: Durable; sinceMs: number } | null {
  if (entry === null) return null;
  const { epoch, floor, holder, reason, terms, sinceMs } = entry;
  return { record: { epoch, floor, holder, reason, terms }, sinceMs };
}
