import type { ControlSnapshot } from '../../control/messages.ts';
import type { Action, AtOnce, Durable, ShellEvent } from '../../control/step.ts';
import { sameDurable } from '../../control/step.ts';
import type { Epoch } from '../../model/control.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { Clock, Timer } from '../../ports/clock.ts';
import type { ControlJournal } from '../../ports/control-journal.ts';
import type { DeviceLink, ModuleSpec, StartReport, StatusReport } from '../../ports/device-link.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { StatusBoard } from '../status/status-board.ts';
import type { Shell } from './step-runner.ts';
import type { TriggerDesk } from '../triggers/trigger-desk.ts';

export interface LocationShellOptions<Message> {
  location: string;
  clock: Clock;
  log: Log;
  metrics: Metrics;
  journal: ControlJournal;
  deviceLink: DeviceLink;
  board: StatusBoard;
  triggers: Pick<TriggerDesk, 'drive' | 'adopt' | 'handOver'>;
  modules(): ModuleSpec[];
  sendControl(link: number, message: Message): void;
  closeLink(link: number, reason: string): void;
  /** To the other node, if there is a link. */
  tellStatus(value: StatusReport): void;
  /** Reports of modules and timers go back to the machine. */
  post(event: ShellEvent | { type: 'timer'; nowMs: number; timer: string }): void;
}

/** Carries out the effects of one location's control machine: the same on both roles. */
export class LocationShell<Message, TimerName extends string> implements Shell<Message, TimerName> {
  readonly #options: LocationShellOptions<Message>;
  readonly #timers = new Map<TimerName, Timer>();
  #starting: AbortController | null = null;
  #stored: Durable | null = null;
  #sinceMs = 0;
  #failing = new Map<string, string>();
  #startedModules = 0;
  /** The modules that were last started, as text: a change of any field is a change. */
  #running = '[]';
  #converging: AbortController | null = null;
  /** The documents changed while it converged: under this epoch. */
  #again: Epoch | null = null;

  constructor(options: LocationShellOptions<Message>, stored: { record: Durable; sinceMs: number } | null) {
    this.#options = options;
    this.#stored = stored?.record ?? null;
    this.#sinceMs = stored?.sinceMs ?? options.clock.wallMs();
  }

  /** Wall time of the last change of holder. */
  get sinceMs(): number {
    return this.#sinceMs;
  }

  get modules(): { running: number; failing: number } {
    return { running: this.#startedModules, failing: this.#failing.size };
  }

  atOnce(_: AtOnce): void {
    this.#starting?.abort(new Error('control lost'));
    this.#options.deviceLink.closeGate(this.#options.location);
  }

  async persist(record: Durable): Promise<void> {
    const { journal, location, clock, metrics, log } = this.#options;
    const sinceMs = this.#stored?.holder === record.holder ? this.#sinceMs : clock.wallMs();
    try {
      await journal.write({ location, ...record, sinceMs });
    } catch (error) {
      metrics.add('holdfast_journal_failures_total', {});
      log.error('journal-not-written', { location, error });
      throw error;
    }
    this.#stored = record;
    this.#sinceMs = sinceMs;
  }

  send(link: number, message: Message): void {
    this.#options.sendControl(link, message);
  }

  run(action: Action<TimerName>): void {
    const { deviceLink, location, closeLink } = this.#options;
    switch (action.type) {
      case 'start-modules':
        void this.#start(action);
        break;
      case 'stop-modules':
        void this.#stop(action);
        break;
      case 'restamp':
        this.#adoptStatus(action.epoch, null);
        deviceLink.restamp(location, action.epoch);
        break;
      case 'set-lease':
        deviceLink.setLease(location, action.untilMs);
        break;
      case 'set-timer':
        this.#setTimer(action.timer, action.atMs);
        break;
      case 'clear-timer':
        this.#timers.get(action.timer)?.cancel();
        this.#timers.delete(action.timer);
        break;
      case 'close-link':
        closeLink(action.link, action.reason);
        break;
    }
  }

  /** Starts modules that are new, stops those that are gone, restarts those that changed. What changes meanwhile follows in one go. */
  converge(epoch: Epoch): void {
    if (this.#converging?.signal.aborted === false) this.#again = epoch;
    else this.#converge(epoch);
  }

  #converge(epoch: Epoch): void {
    const { deviceLink, location, log, modules } = this.#options;
    const specs = modules();
    const wanted = JSON.stringify(specs);
    if (wanted === this.#running) return;
    this.#running = wanted;
    const abort = new AbortController();
    this.#starting = abort;
    this.#converging = abort;
    this.#again = null;
    const converged = deviceLink.start({ location, epoch, modules: specs, handover: {} }, abort.signal).then(
      (report) => {
        if (!abort.signal.aborted) this.#note(report);
      },
      (error: unknown) => {
        if (!abort.signal.aborted) log.error('modules-not-converged', { location, error });
      },
    );
    void converged.then(() => {
      if (this.#converging !== abort) return;
      this.#converging = null;
      if (this.#again !== null && !abort.signal.aborted) this.#converge(this.#again);
    });
  }

  /** Ends timers and a start under way; stopping modules is the node's ordered shutdown. */
  close(): void {
    this.#starting?.abort(new HoldfastError('SHUTTING_DOWN', {}));
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  /** The record differs from what the journal holds: to be stored before anything else. */
  needsStoring(record: Durable): boolean {
    return this.#stored === null || !sameDurable(this.#stored, record);
  }

  #setTimer(timer: TimerName, atMs: number): void {
    const { clock, post } = this.#options;
    this.#timers.get(timer)?.cancel();
    const delayMs = Math.max(0, atMs - clock.monotonicMs());
    this.#timers.set(
      timer,
      clock.after(delayMs, () => {
        this.#timers.delete(timer);
        post({ type: 'timer', nowMs: clock.monotonicMs(), timer });
      }),
    );
  }

  async #start(action: Extract<Action<TimerName>, { type: 'start-modules' }>): Promise<void> {
    const { clock, deviceLink, location, log, modules, post } = this.#options;
    const abort = new AbortController();
    this.#starting = abort;
    this.#adoptStatus(action.epoch, action.snapshot);
    const specs = modules();
    this.#running = JSON.stringify(specs);
    const order = { location, epoch: action.epoch, modules: specs, handover: action.snapshot?.handover ?? {} };
    try {
      const report = await deviceLink.start(order, abort.signal);
      if (abort.signal.aborted) return;
      this.#note(report);
      post({ type: 'modules-started', nowMs: clock.monotonicMs(), run: action.run });
    } catch (error) {
      if (abort.signal.aborted) return;
      log.error('modules-not-started', { location, error });
      post({ type: 'modules-failed', nowMs: clock.monotonicMs(), run: action.run });
    }
  }

  /** The other node refuses values of an older epoch: it gets all of them anew. */
  #adoptStatus(epoch: Epoch, snapshot: ControlSnapshot | null): void {
    const { board, location, tellStatus, triggers } = this.#options;
    board.adopt(location, epoch, snapshot);
    triggers.adopt(snapshot?.triggers ?? []);
    for (const value of board.values(location)) tellStatus(value);
  }

  #note(report: StartReport): void {
    const { location, log } = this.#options;
    this.#startedModules = report.started;
    this.#failing = new Map(report.failed.map(({ module, problem }) => [module, problem]));
    for (const failure of report.failed) log.warn('module-failed', { location, ...failure });
  }

  async #stop(action: Extract<Action<TimerName>, { type: 'stop-modules' }>): Promise<void> {
    const { board, clock, deviceLink, location, post, triggers } = this.#options;
    this.#starting?.abort(new Error('control given up'));
    deviceLink.closeGate(location);
    const { handover } = await deviceLink.stop(location, action.deadlineMs);
    this.#startedModules = 0;
    this.#failing.clear();
    const status = board.values(location).map(({ module, key, value }) => ({ module, key, value }));
    const snapshot: ControlSnapshot = { status, handover, triggers: triggers.handOver() };
    post({ type: 'modules-stopped', nowMs: clock.monotonicMs(), run: action.run, snapshot });
  }
}
