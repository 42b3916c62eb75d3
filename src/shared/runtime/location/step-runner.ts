import { assert } from '../../foundation/assert.ts';
import { BoundedQueue } from '../../foundation/bounded-queue.ts';
import type { Action, AtOnce, Durable, Effects, Step } from '../../control/step.ts';

/** Turns what a pure machine wants into deeds. The same for edge, master and the simulator. */
export interface Shell<Message, TimerName extends string> {
  atOnce(effect: AtOnce): void;
  /** Durable when resolved. A rejection is an operating error of the disk, already logged and counted by the shell. */
  persist(record: Durable): Promise<void>;
  send(link: number, message: Message): void;
  run(action: Action<TimerName>): void;
}

export interface RunnerEvent {
  type: string;
  nowMs: number;
}

export interface StepRunnerOptions<State, Event extends RunnerEvent, Message, TimerName extends string> {
  initial: State;
  /** The boot state has something to store before anything else happens. */
  initialRecord: Durable | null;
  step(state: State, event: Event): Step<State, Message, TimerName>;
  /** What a failed write is to the machine. */
  journalFailed(cause: Event): Event;
  shell: Shell<Message, TimerName>;
  onStep(previous: State, next: State, reason: string, event: Event): void;
}

/** More waiting events than this means that somebody floods a machine whose disk hangs. */
const MAX_WAITING_EVENTS = 10_000;

/**
 * Feeds one event at a time to a control machine and carries out its effects in the only safe order:
 * less authority at once, then the journal, then messages, then modules and timers.
 *
 * A step whose record could not be stored did not happen, unless it gives control up.
 */
export class StepRunner<State, Event extends RunnerEvent, Message, TimerName extends string> {
  readonly #options: StepRunnerOptions<State, Event, Message, TimerName>;
  readonly #waiting = new BoundedQueue<Event>(MAX_WAITING_EVENTS);
  #state: State;
  #busy = false;
  #stopped = false;

  constructor(options: StepRunnerOptions<State, Event, Message, TimerName>) {
    this.#options = options;
    this.#state = options.initial;
    if (options.initialRecord !== null) this.#store({ record: options.initialRecord, onFailure: 'go-on' }, () => undefined, () => undefined);
  }

  get state(): State {
    return this.#state;
  }

  /** Events that wait for the one whose record is being stored. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Takes an event now, or after the one whose record is being stored. */
  post(event: Event): void {
    if (this.#stopped) return;
    if (this.#busy) {
      assert(this.#waiting.push(event), 'a control machine is flooded with events');
      return;
    }
    this.#take(event);
    this.#continue();
  }

  /** No event is taken any more; a write under way still completes, its effects are dropped. */
  stop(): void {
    this.#stopped = true;
  }

  #continue(): void {
    while (!this.#busy && !this.#stopped) {
      const event = this.#waiting.shift();
      if (event === undefined) return;
      this.#take(event);
    }
  }

  #take(event: Event): void {
    const previous = this.#state;
    const { state, effects, reason } = this.#options.step(previous, event);
    for (const effect of effects.atOnce) this.#options.shell.atOnce(effect);
    const proceed = (): void => {
      this.#proceed(state, effects);
      this.#options.onStep(previous, state, reason, event);
    };
    if (effects.persist === null) {
      proceed();
      return;
    }
    this.#store(effects.persist, proceed, () => this.#take(this.#options.journalFailed(event)));
  }

  #store(persist: { record: Durable; onFailure: 'refuse' | 'go-on' }, proceed: () => void, refuse: () => void): void {
    this.#busy = true;
    const settle = (next: () => void): void => {
      this.#busy = false;
      if (this.#stopped) return;
      next();
      this.#continue();
    };
    this.#options.shell.persist(persist.record).then(
      () => settle(proceed),
      () => settle(persist.onFailure === 'go-on' ? proceed : refuse),
    );
  }

  #proceed(next: State, effects: Effects<Message, TimerName>): void {
    this.#state = next;
    for (const { link, message } of effects.thenSend) this.#options.shell.send(link, message);
    for (const action of effects.thenRun) this.#options.shell.run(action);
  }
}
