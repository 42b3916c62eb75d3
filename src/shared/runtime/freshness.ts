import type { Clock } from '../ports/clock.ts';
import type { Route } from './proxy.ts';

export interface FreshnessOptions {
  clock: Clock;
  route(location: string): Route;
  /** Monotonic time since when the node at the other end of the link of this location is not heard; null: it is, or never was. */
  silentSinceMs(location: string): number | null;
}

interface Known {
  via: Route['via'];
  /** Monotonic; null: fresh. */
  staleSinceMs: number | null;
}

/** Whether the status of a location is what its devices are: this node drives them, or it hears who does. Otherwise it stands still. */
export class Freshness {
  readonly #options: FreshnessOptions;
  readonly #known = new Map<string, Known>();
  readonly #listeners = new Set<(location: string) => void>();

  constructor(options: FreshnessOptions) {
    this.#options = options;
  }

  /** Milliseconds since values were known to be what the devices are; null: they are. */
  ageMs(location: string): number | null {
    this.#lookAt(location);
    const sinceMs = this.#known.get(location)?.staleSinceMs ?? null;
    return sinceMs === null ? null : this.#options.clock.monotonicMs() - sinceMs;
  }

  /** Called when the status of a location becomes stale or fresh. Returns the way to stop. */
  onChange(listener: (location: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Control or a link may have changed, of one location or (without one) of any. */
  look(location?: string): void {
    for (const each of location === undefined ? Array.from(this.#known.keys()) : [location]) this.#lookAt(each);
  }

  #lookAt(location: string): void {
    const { clock, silentSinceMs, route } = this.#options;
    const { via } = route(location);
    const known = this.#known.get(location);
    if (known?.via === via) return;
    const isFresh = via === 'here' || via === 'peer';
    // A link is found dead only after a silence.
    const sinceMs = (known?.via === 'here' ? null : silentSinceMs(location)) ?? clock.monotonicMs();
    this.#known.set(location, { via, staleSinceMs: isFresh ? null : (known?.staleSinceMs ?? sinceMs) });
    if (known === undefined || isFresh === (known.staleSinceMs === null)) return;
    for (const listener of Array.from(this.#listeners)) listener(location);
  }
}
