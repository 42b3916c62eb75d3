import { formatEpoch } from '../../control/epoch.ts';
import { defaultTimings } from '../../control/lease.ts';
import type { HeldInterval } from '../../control/messages.ts';
import type { Epoch } from '../../model/control.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { ControlJournal, HistoryEntry } from '../../ports/control-journal.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { dualControlMs, type HeldTimes } from './held-times.ts';

export interface DualControlOptions {
  location: string;
  clock: Clock;
  log: Log;
  metrics: Metrics;
  journal: ControlJournal;
  history: HistoryEntry[];
}

/** As many as the history keeps: an edge could make up ever other epochs. */
const MOST_KNOWN = limits.historyEntries;
/** Below this the two ends of one hand-over, not dual control: ages are measured a message's flight apart. */
const NOISE_MS = 1;

/** Measures the time in which both sides held a location, from what both journals say, and keeps the sum. */
export class DualControl {
  readonly #options: DualControlOptions;
  /** Milliseconds by pair of epochs: each hello tells the past again. */
  readonly #known = new Map<string, number>();
  #totalMs: number;
  #heard: { atMs: number; held: HeldInterval[]; onTheWayMs: number } | null = null;

  constructor(options: DualControlOptions) {
    this.#options = options;
    this.#totalMs = options.history.reduce((sum, entry) => sum + (entry.dualControl?.ms ?? 0), 0);
    for (const { dualControl } of options.history) {
      if (dualControl !== undefined) this.#known.set(dualControl.epochs, (this.#known.get(dualControl.epochs) ?? 0) + dualControl.ms);
    }
  }

  get totalMs(): number {
    return this.#totalMs;
  }

  /**
   * The edge said hello and when it held, as ages. `onTheWayMs` is the longest that the message can have travelled:
   * what may be its journey alone is not counted. The next hello tells the same again.
   */
  heard(held: HeldInterval[], own: HeldTimes, onTheWayMs: number): void {
    this.#heard = { atMs: this.#options.clock.monotonicMs(), held, onTheWayMs };
    this.#compare(held, own, onTheWayMs);
  }

  /** Our write gate has closed: an edge that held when it said hello has held until now. */
  settle(own: HeldTimes): void {
    if (this.#heard === null) return;
    const { atMs, held, onTheWayMs } = this.#heard;
    this.#compare(older(held, this.#options.clock.monotonicMs() - atMs), own, onTheWayMs);
    this.#heard = null;
  }

  #compare(edge: HeldInterval[], own: HeldTimes, onTheWayMs: number): void {
    for (const theirs of edge) {
      for (const ours of own.intervals()) {
        const ms = dualControlMs([theirs], [ours]);
        const certain = dualControlMs(older([theirs], onTheWayMs), [ours]) > NOISE_MS;
        // Ages come from two clocks that drift: the longer ago, the less they agree.
        const unsureMs = NOISE_MS + 2 * defaultTimings.clockDrift * Math.max(theirs.untilAgoMs, ours.untilAgoMs);
        if (certain) this.#note(theirs.epoch, `${formatEpoch(theirs.epoch)}/${formatEpoch(ours.epoch)}`, { ms, unsureMs });
      }
    }
  }

  #note(epoch: Epoch, epochs: string, { ms, unsureMs }: { ms: number; unsureMs: number }): void {
    const { clock, journal, location, log, metrics } = this.#options;
    const more = ms - (this.#known.get(epochs) ?? 0);
    if (more <= unsureMs) return;
    this.#known.set(epochs, ms);
    const [oldest] = this.#known.keys();
    if (this.#known.size > MOST_KNOWN && oldest !== undefined) this.#known.delete(oldest);
    this.#totalMs += more;
    metrics.add('holdfast_dual_control_seconds_total', { location }, more / 1_000);
    log.warn('dual-control', { location, ms: Math.round(more), epochs });
    const entry = { location, wallMs: clock.wallMs(), holder: 'none' as const, state: 'dual-control', reason: 'both-held', epoch };
    journal.record({ ...entry, dualControl: { epochs, ms: more } });
  }
}

/** The same ages, so much later; whoever still held has held until then. */
const older = (held: HeldInterval[], ms: number): HeldInterval[] =>
  held.map(({ epoch, fromAgoMs, untilAgoMs }) => ({ epoch, fromAgoMs: fromAgoMs + ms, untilAgoMs: untilAgoMs === 0 ? 0 : untilAgoMs + ms }));
