import { limits } from '../shared/model/limits.ts';
import type { RedirectFrame } from './frames.ts';

/** When a session goes where it is told. Pure. */
export class Redirects {
  /** The newest word on each system. */
  readonly #told = new Map<string, { origin: string; epoch: readonly number[] }>();
  #movedMs: number[] = [];

  /** False: of an epoch that is over; control has moved on since. */
  hear({ sys, origin, epoch }: RedirectFrame): boolean {
    const parts = epoch.split('.').map(Number);
    const known = this.#told.get(sys);
    if (known !== undefined && isOlder(parts, known.epoch)) return false;
    this.#told.set(sys, { origin, epoch: parts });
    return true;
  }

  /**
   * Where to go, null: stay. Only when everything that is bound is there: what is elsewhere is served by proxy here, and
   * may not be served at all there.
   */
  destination(current: string, systems: ReadonlySet<string>): string | null {
    const origins = new Set([...systems].map((system) => this.#told.get(system)?.origin ?? current));
    const [origin] = origins;
    return origin === undefined || origins.size > 1 || origin === current ? null : origin;
  }

  /** For so long no move is followed: two servers that point at each other must not play ball with a session. */
  pauseMs(nowMs: number): number {
    // One that lies ahead was noted before somebody set the clock back.
    this.#movedMs = this.#movedMs.filter((movedMs) => movedMs <= nowMs && nowMs - movedMs < limits.sdkMovesWindowMs);
    const [first] = this.#movedMs;
    return first === undefined || this.#movedMs.length < limits.sdkMoves ? 0 : first + limits.sdkMovesWindowMs - nowMs;
  }

  moved(nowMs: number): void {
    this.#movedMs.push(nowMs);
  }
}

/** An epoch is `generation.number`. */
function isOlder([generation = 0, number = 0]: readonly number[], [thanGeneration = 0, thanNumber = 0]: readonly number[]): boolean {
  return generation < thanGeneration || (generation === thanGeneration && number < thanNumber);
}
