import { formatEpoch } from '../../../src/shared/control/epoch.ts';
import type { FromEdge, FromMaster } from '../../../src/shared/control/messages.ts';
import type { Action, Durable, ShellEvent, Step } from '../../../src/shared/control/step.ts';
import { sameDurable } from '../../../src/shared/control/step.ts';
import type { Clock, Timer } from '../../../src/shared/ports/clock.ts';
import type { ControlJournal, JournalEntry } from '../../../src/shared/ports/control-journal.ts';
import { type RunnerEvent, StepRunner } from '../../../src/shared/runtime/location/step-runner.ts';
import type { ModuleHost } from './module-host.ts';
import { describeMessage, describeRecord, describeSnapshot, seconds, type Transcript } from './transcript.ts';

export interface NodeParts<State, Event extends RunnerEvent, Message, TimerName extends string> {
  who: string;
  peer: 'edge' | 'master';
  location: string;
  clock: Clock;
  journal: ControlJournal;
  slowDisk(): boolean;
  modules: ModuleHost;
  transcript: Transcript;
  stored: JournalEntry | null;
  initial: State;
  step(state: State, event: Event): Step<State, Message, TimerName>;
  fromShell(event: ShellEvent | { type: 'timer'; nowMs: number; timer: TimerName }): Event;
  send(link: number, message: Message): void;
  close(link: number): void;
  /** Renewals are many and all the same. */
  hidesRenewals(): boolean;
  onStored(record: Durable): void;
  onStep(previous: State, next: State): void;
}

/** One control machine with its runner, in a world of which every deed is told. */
export class StoryNode<
  State extends { state: string; durable: Durable },
  Event extends RunnerEvent,
  Message extends FromEdge | FromMaster,
  TimerName extends string,
> {
  readonly #parts: NodeParts<State, Event, Message, TimerName>;
  readonly #runner: StepRunner<State, Event, Message, TimerName>;
  readonly #timers = new Map<TimerName, Timer>();
  #journal: Durable | null;
  #cause: Event | null = null;
  /** What the step under way has done so far. */
  #deeds: string[] = [];
  #lastRemark = '';

  constructor(parts: NodeParts<State, Event, Message, TimerName>) {
    this.#parts = parts;
    const { stored, initial } = parts;
    this.#journal = stored === null ? null : recordOf(stored);
    const differs = this.#journal === null || !sameDurable(this.#journal, initial.durable);
    this.#runner = new StepRunner<State, Event, Message, TimerName>({
      initial,
      initialRecord: differs ? initial.durable : null,
      step: (state, event) => {
        this.#cause = event;
        return parts.step(state, event);
      },
      journalFailed: (cause) => {
        const link = 'link' in cause && typeof cause.link === 'number' ? cause.link : null;
        return parts.fromShell({ type: 'journal-failed', nowMs: parts.clock.monotonicMs(), link });
      },
      shell: {
        atOnce: () => {
          this.#tell('gate closes at once');
          parts.modules.closeGate();
        },
        persist: (record) => this.#persist(record),
        send: (link, message) => {
          this.#sent(link, message);
          parts.send(link, message);
        },
        run: (action) => this.#run(action),
      },
      onStep: (previous, next, reason) => this.#stepped(previous, next, reason),
    });
  }

  get state(): State {
    return this.#runner.state;
  }

  /** What the journal holds; null before the first write. */
  get journal(): Durable | null {
    return this.#journal;
  }

  post(event: Event): void {
    this.#runner.post(event);
  }

  /** The process ends here and now. */
  kill(): void {
    this.#runner.stop();
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    this.#parts.modules.kill();
  }

  async #persist(record: Durable): Promise<void> {
    const { journal, location, clock, slowDisk } = this.#parts;
    const text = describeRecord(record, this.#journal);
    if (slowDisk()) this.#tell(`begins to store: ${text}`);
    try {
      await journal.write({ location, ...record, sinceMs: clock.wallMs() });
    } catch (error) {
      this.#tell(`CANNOT STORE: ${text}`);
      throw error;
    }
    this.#journal = record;
    this.#parts.onStored(record);
    // The record of a boot belongs to no step.
    if (this.#cause === null) this.#tell(`stored: ${text}`);
    else this.#deeds.push(`stored: ${text}`);
  }

  #sent(link: number, message: Message): void {
    const { peer } = this.#parts;
    if (message.t === 'control.renew' || message.t === 'control.renewed') {
      if (this.#parts.hidesRenewals()) return;
    }
    const on = message.t === 'hello' ? ` (link ${link})` : '';
    this.#deeds.push(`→ ${peer.padEnd(7)}${describeMessage(message)}${on}`);
  }

  #run(action: Action<TimerName>): void {
    const { modules, clock } = this.#parts;
    switch (action.type) {
      case 'start-modules': {
        const snapshot = describeSnapshot(action.snapshot);
        const from = snapshot === '' ? '' : `, from ${snapshot}`;
        this.#deeds.push(`starts modules under ${formatEpoch(action.epoch)}${from}`);
        modules.start(action.epoch, action.snapshot, (started) => {
          if (started && modules.deadDevices > 0) this.#tell(`modules run, ${modules.deadDevices} device dead`);
          const type = started ? 'modules-started' : 'modules-failed';
          this.#fromShell({ type, nowMs: clock.monotonicMs(), run: action.run });
        });
        break;
      }
      case 'stop-modules':
        this.#deeds.push('stops modules');
        modules.stop(action.deadlineMs, (snapshot) => {
          this.#tell('modules are stopped, sockets are closed');
          this.#fromShell({ type: 'modules-stopped', nowMs: clock.monotonicMs(), run: action.run, snapshot });
        });
        break;
      case 'restamp':
        this.#deeds.push(`running commands go on under ${formatEpoch(action.epoch)}; no module restarts`);
        modules.restamp(action.epoch);
        break;
      case 'set-lease':
        modules.setLease(action.untilMs);
        if (action.untilMs !== null && !this.#isHiddenRenewal()) {
          this.#deeds.push(`may write for ${seconds(action.untilMs - clock.monotonicMs())}`);
        }
        break;
      case 'set-timer':
        this.#setTimer(action.timer, action.atMs);
        break;
      case 'clear-timer':
        this.#timers.get(action.timer)?.cancel();
        this.#timers.delete(action.timer);
        break;
      case 'close-link':
        this.#deeds.push(`closes link ${action.link}: ${action.reason}`);
        this.#parts.close(action.link);
        break;
    }
  }

  #isHiddenRenewal(): boolean {
    return this.#cause !== null && isRenewal(this.#cause) && this.#parts.hidesRenewals();
  }

  #setTimer(name: TimerName, atMs: number): void {
    const { clock } = this.#parts;
    const delayMs = Math.max(0, atMs - clock.monotonicMs());
    const words: Record<string, string> = { due: 'the timeout is over in', 'hold-down': 'hold-down: no automatic hand-back for' };
    const word = words[name];
    if (word !== undefined) this.#deeds.push(`${word} ${seconds(delayMs)}`);
    this.#timers.get(name)?.cancel();
    const timer = clock.after(delayMs, () => {
      this.#timers.delete(name);
      this.#fromShell({ type: 'timer', nowMs: clock.monotonicMs(), timer: name });
    });
    this.#timers.set(name, timer);
  }

  #fromShell(event: ShellEvent | { type: 'timer'; nowMs: number; timer: TimerName }): void {
    this.#runner.post(this.#parts.fromShell(event));
  }

  #stepped(previous: State, next: State, reason: string): void {
    const cause = this.#cause;
    const deeds = this.#deeds;
    this.#deeds = [];
    const moved = previous.state !== next.state;
    const remark = `${cause?.type ?? ''} ${reason}`;
    if (moved || deeds.length > 0) {
      const states = moved ? `${previous.state} → ${next.state}` : next.state;
      this.#tell(`${states.padEnd(27)} ${reason}`, deeds);
      this.#lastRemark = '';
    } else if (cause !== null && isTelling(cause, reason) && remark !== this.#lastRemark) {
      this.#tell(`${next.state.padEnd(27)} ${reason} (${describeEvent(cause)})`);
      this.#lastRemark = remark;
    }
    this.#parts.onStep(previous, next);
  }

  #tell(what: string, details: readonly string[] = []): void {
    this.#parts.transcript.tell(this.#parts.who, what, details);
  }
}

const recordOf = ({ epoch, floor, holder, reason, terms }: JournalEntry): Durable => ({ epoch, floor, holder, reason, terms });

type MessageEvent = RunnerEvent & { message: FromEdge | FromMaster };

const hasMessage = (event: RunnerEvent): event is MessageEvent => 'message' in event;

const isRenewal = (event: RunnerEvent): boolean =>
  hasMessage(event) && (event.message.t === 'control.renew' || event.message.t === 'control.renewed');

/** Of the steps that changed nothing, those that an operator would like to know of. */
function isTelling(event: RunnerEvent, reason: string): boolean {
  switch (event.type) {
    case 'timer':
      return false;
    case 'dial-failed':
      return reason !== 'dial-failed';
    case 'message':
      return !isRenewal(event) || reason !== 'lease-renewed';
    default:
      return true;
  }
}

function describeEvent(event: RunnerEvent): string {
  if ('open' in event) return event.open === true ? 'it opens' : 'it closes';
  const what = hasMessage(event) ? `${event.message.t} #${event.message.negotiation}` : event.type;
  return 'link' in event && typeof event.link === 'number' ? `${what}, link ${event.link}` : what;
}
