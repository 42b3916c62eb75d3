import { formatEpoch } from '../../control/epoch.ts';
import type { Json, JsonObject } from '../../foundation/json.ts';
import type { Epoch } from '../../model/control.ts';
import { HoldfastError, toHoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Clock, Timer } from '../../ports/clock.ts';
import type { ControlJournal } from '../../ports/control-journal.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Webhooks } from '../../ports/webhooks.ts';
import { TokenBucket } from '../../api/token-bucket.ts';
import { type Firing, fromTold, merge, type ToldMemory, toldMemorySchema, toTold, type TriggerMemory } from '../../triggers/memory.ts';
import { type Rule, ruleOf } from '../../triggers/rule.ts';
import { beginTrigger, type Now, stepTrigger, type TriggerEvent, type TriggerState, type TriggerStep } from '../../triggers/step.ts';
import type { CommandDesk } from '../commands/command-desk.ts';
import type { Directory, TriggerInstance } from '../documents/directory.ts';
import type { TriggerView } from '../node.ts';
import { readBody } from '../peer/peer-bodies.ts';
import { carryOut } from './trigger-actions.ts';
import { TriggerNotes } from './trigger-notes.ts';

export interface TriggerDeskOptions {
  location: string;
  clock: Clock;
  log: Log;
  metrics: Metrics;
  journal: Pick<ControlJournal, 'rememberTriggers' | 'triggers'>;
  directory: Directory;
  desk: Pick<CommandDesk, 'exec' | 'follow'>;
  webhooks: Webhooks;
  /** To the other node, if there is a link. */
  tell(memory: ToldMemory): void;
  /** Both sides find the doubles; one says so. */
  reportsDoubles: boolean;
  /** False: control is over, whether or not this node has been told. */
  mayAct(): boolean;
}

interface Running {
  instance: TriggerInstance;
  /** Of the trigger, to see a change. */
  text: string;
  rule: Rule;
  state: TriggerState;
  rate: TokenBucket;
  /** Its last firing was refused for coming too fast: said once. */
  limited: boolean;
  stop(): void;
}

/**
 * The triggers of one location. They live while this node drives it, and end with its control. What they remember is
 * stored before it is told, and told before it is acted on; so nothing fires again after a move or a restart.
 */
export class TriggerDesk {
  readonly #options: TriggerDeskOptions;
  readonly #notes: TriggerNotes;
  readonly #running = new Map<string, Running>();
  #run: { epoch: Epoch; stopDocuments: () => void } | null = null;
  #clockTimer: Timer | null = null;
  /** One for each firing under way: a signal that all share would gather listeners. */
  readonly #acting = new Set<AbortController>();

  constructor(options: TriggerDeskOptions) {
    this.#options = options;
    this.#notes = new TriggerNotes(options);
  }

  /** Reads what this node remembers. Before anything else. */
  open(): Promise<void> {
    return this.#notes.open();
  }

  /** The epoch under which this node drives the location; null: it does not, from now on. */
  drive(epoch: Epoch | null): void {
    if (epoch === null) return this.#end();
    if (this.#run !== null) {
      this.#run.epoch = epoch;
      return;
    }
    const { directory, location } = this.#options;
    this.#run = { epoch, stopDocuments: directory.onChange(() => this.#converge()) };
    for (const instance of directory.triggersOf(location)) this.#begin(instance, false);
    this.#watchClock();
  }

  /** Someone called the webhook of a trigger: what came of it. Throws CONTROL_CHANGING, NOT_FOUND. */
  call(instance: string, call: string): TriggerStep['reason'] {
    if (this.#run === null) throw this.#controlGone();
    const running = this.#running.get(instance);
    if (running === undefined) throw new HoldfastError('NOT_FOUND', { kind: 'trigger', id: instance });
    return this.#take(running, { type: 'called', call });
  }

  /** What the other node tells. Throws INPUT_INVALID. */
  hear(body: Json): void {
    this.adopt([readBody(toldMemorySchema, body)]);
  }

  /** What came with a hand-over, or was told. */
  adopt(told: readonly ToldMemory[]): void {
    for (const memory of told) this.#learn(fromTold(memory, this.#options.clock.wallMs()));
  }

  /** Everything, for the next holder or for a peer that has just connected. */
  handOver(): ToldMemory[] {
    const { clock, directory, location } = this.#options;
    return directory.triggersOf(location).flatMap(({ id }) => {
      const memory = this.#notes.get(id);
      return memory === null ? [] : [toTold(memory, clock.wallMs())];
    });
  }

  tellAll(): void {
    for (const memory of this.handOver()) this.#options.tell(memory);
  }

  views(): TriggerView[] {
    const { directory, location } = this.#options;
    return directory.triggersOf(location).map(({ id, trigger, system }) => {
      const memory = this.#notes.get(id);
      const state = this.#running.get(id)?.state ?? null;
      return { id, trigger, system, location, memory, nextMs: state?.nextTimeMs ?? null };
    });
  }

  /** Ends what runs, and waits for what is being stored. */
  async close(): Promise<void> {
    this.#end();
    await this.#notes.settled();
  }

  // ── While driving ─────────────────────────────────────────────────────────

  #begin(instance: TriggerInstance, fresh: boolean): void {
    const { clock, desk, log, location } = this.#options;
    const { id, trigger, system } = instance;
    if (!trigger.enabled) return;
    let rule: Rule;
    try {
      rule = ruleOf(trigger);
    } catch (error) {
      // Checked when it was applied; but not every machine knows every time zone.
      log.warn('trigger-failed', { location, trigger: trigger.id, system: system.id, occurrence: '', action: 'conditions', error });
      return;
    }
    const values: (Json | undefined)[] = rule.variables.map(() => undefined);
    let running: Running | null = null;
    const stops = rule.variables.map((variable, i) =>
      desk.follow({ system: system.id, ...variable }, ({ value }) => {
        if (running === null) values[i] = value;
        else this.#take(running, { type: 'value', variable: i, value });
      }),
    );
    const known = this.#notes.get(id);
    const state = beginTrigger(rule, known, { instance: id, values, fresh }, this.#now());
    const perMinute = limits.triggerFiringsPerMinute;
    const rate = new TokenBucket(clock, { perSecond: perMinute / 60, burst: perMinute });
    running = { instance, text: JSON.stringify(trigger), rule, state, rate, limited: false, stop: () => stops.forEach((stop) => stop()) };
    this.#running.set(id, running);
    this.#notes.keep(state.memory);
    this.#take(running, { type: 'began' });
    this.#take(running, { type: 'clock' });
  }

  /** The documents changed: what is new or changed begins, what is gone ends. */
  #converge(): void {
    const { directory, location } = this.#options;
    const wanted = new Map(directory.triggersOf(location).map((instance) => [instance.id, instance]));
    for (const [id, running] of this.#running) {
      const now = wanted.get(id);
      if (now?.trigger.enabled === true && JSON.stringify(now.trigger) === running.text) {
        running.instance = now;
        wanted.delete(id);
        continue;
      }
      running.stop();
      this.#running.delete(id);
    }
    for (const instance of wanted.values()) this.#begin(instance, true);
    this.#notes.forgetAllBut((id) => directory.triggerInstance(location, id) !== null);
    this.#watchClock();
  }

  #take(running: Running, event: TriggerEvent): TriggerStep['reason'] {
    const { state, fires, reason } = stepTrigger(running.rule, running.state, event, this.#now());
    running.state = state;
    this.#notes.keep(state.memory);
    const [firing] = state.memory.firings;
    if (fires !== null && firing !== undefined) void this.#fire(running, firing);
    if (reason === 'time-missed') {
      const { trigger, system } = running.instance;
      this.#options.log.warn('trigger-missed', { location: this.#options.location, trigger: trigger.id, system: system.id });
    }
    return reason;
  }

  /** Recorded, told, and only then acted on. */
  async #fire(running: Running, firing: Firing): Promise<void> {
    const { location, log, metrics } = this.#options;
    const { instance } = running;
    const facts = { location, trigger: instance.trigger.id, system: instance.system.id, occurrence: firing.occurrence };
    const failed = (action: string, error: HoldfastError): void => {
      metrics.add('holdfast_trigger_failures_total', { location });
      log.warn('trigger-failed', { ...facts, action, error });
    };
    const values = valuesOf(running);
    if (this.#isTooFast(running, failed)) return;
    const abort = new AbortController();
    this.#acting.add(abort);
    try {
      await this.#notes.stored();
      abort.signal.throwIfAborted();
      metrics.add('holdfast_trigger_firings_total', { location });
      log.info('trigger-fired', { ...facts, epoch: formatEpoch(firing.epoch) });
      await carryOut({ ...this.#options, failed }, { instance, firing, values }, abort.signal);
    } catch (error) {
      failed('all', toHoldfastError(error, instance.trigger.id));
    } finally {
      this.#acting.delete(abort);
    }
  }

  /** A trigger whose actions make it fire again must not keep a node busy. */
  #isTooFast(running: Running, failed: (action: string, error: HoldfastError) => void): boolean {
    if (this.#acting.size >= limits.triggersActing) {
      failed('all', new HoldfastError('LIMIT_REACHED', { what: 'firings under way', limit: limits.triggersActing }));
      return true;
    }
    const limited = !running.rate.take();
    if (limited && !running.limited) failed('all', new HoldfastError('RATE_LIMITED', { retryAfterMs: 60_000 / limits.triggerFiringsPerMinute }));
    running.limited = limited;
    return limited;
  }

  /** Wall clocks jump, so that no timer is trusted for longer than a second. */
  #watchClock(): void {
    this.#clockTimer?.cancel();
    this.#clockTimer = null;
    const timed = [...this.#running.values()].filter(({ rule }) => rule.times.length > 0);
    if (timed.length === 0) return;
    const nextMs = Math.min(...timed.map(({ state }) => state.nextTimeMs ?? Infinity));
    const delayMs = Math.min(limits.triggerClockCheckMs, Math.max(1, Math.ceil(nextMs - this.#options.clock.wallMs())));
    this.#clockTimer = this.#options.clock.after(delayMs, () => {
      for (const running of timed) this.#take(running, { type: 'clock' });
      this.#watchClock();
    });
  }

  #end(): void {
    this.#clockTimer?.cancel();
    this.#clockTimer = null;
    for (const { stop } of this.#running.values()) stop();
    this.#running.clear();
    this.#run?.stopDocuments();
    this.#run = null;
    for (const abort of this.#acting) abort.abort(this.#controlGone());
  }

  // ── What is known ─────────────────────────────────────────────────────────

  #learn(told: TriggerMemory): void {
    const { directory, location, log, metrics, reportsDoubles } = this.#options;
    const instance = directory.triggerInstance(location, told.instance);
    // Of what this node does not know it will begin anew, once the document is here.
    if (instance === null) return;
    const own = this.#notes.get(told.instance);
    const { memory, doubles } = merge(own, told);
    const running = this.#running.get(told.instance);
    // Whoever drives sees for himself whether the comparisons hold.
    const kept = running === undefined || own === null ? memory : { ...memory, met: own.met };
    if (running !== undefined) running.state = { ...running.state, memory: kept };
    this.#notes.keep(kept, false);
    if (!reportsDoubles) return;
    for (const { occurrence, epochs } of doubles) {
      metrics.add('holdfast_trigger_doubles_total', { location });
      const facts = { location, trigger: instance.trigger.id, system: instance.system.id, occurrence };
      log.warn('trigger-double', { ...facts, epochs: epochs.map(formatEpoch).join('/') });
    }
  }

  #now(): Now {
    const { clock } = this.#options;
    const memoryless = { generation: 0, number: 0 };
    return { wallMs: clock.wallMs(), monotonicMs: clock.monotonicMs(), epoch: this.#run?.epoch ?? memoryless };
  }

  #controlGone(): HoldfastError {
    return new HoldfastError('CONTROL_CHANGING', { location: this.#options.location, retryAfterMs: 1_000 });
  }
}

/** `Display_1.power` and what it is. */
function valuesOf({ rule, state }: Running): JsonObject {
  const known = rule.variables.map(({ module, index, key }, i): [string, Json] => [`${module}_${index}.${key}`, state.values[i] ?? null]);
  return Object.fromEntries(known);
}
