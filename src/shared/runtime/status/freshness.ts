import type { Clock } from '../../ports/clock.ts';

/** From where word of the devices of a location comes. */
export type Source =
  /** This node drives them. */
  | { via: 'here' }
  /** Whoever drives them is heard. */
  | { via: 'peer' }
  /** Nobody who does is heard: since `sinceMs` (monotonic), or (null) as far as is known from now on. */
  | { via: 'nobody'; sinceMs: number | null }
  /** Who knows has not said it yet. */
  | { via: 'unsaid' };

export interface FreshnessOptions {
  clock: Clock;
  source(location: string): Source;
}

interface Known {
  via: Source['via'];
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
    const { staleSinceMs } = this.#lookAt(location);
    return staleSinceMs === null ? null : this.#options.clock.monotonicMs() - staleSinceMs;
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

  #lookAt(location: string): Known {
    const source = this.#options.source(location);
    const before = this.#known.get(location);
    const known = { via: source.via, staleSinceMs: this.#staleSinceMs(source, before) };
    this.#known.set(location, known);
    const isNews = before !== undefined && (before.staleSinceMs === null) !== (known.staleSinceMs === null);
    if (isNews) for (const listener of Array.from(this.#listeners)) listener(location);
    return known;
  }

  #staleSinceMs(source: Source, before: Known | undefined): number | null {
    const sinceMs = before?.staleSinceMs ?? null;
    switch (source.via) {
      case 'here':
      case 'peer':
        return null;
      case 'unsaid':
        return sinceMs;
      case 'nobody':
        // A later attempt that comes to nothing makes nothing younger; who drove until now knew it all, however long nobody else was heard.
        return sinceMs ?? (before?.via === 'here' ? null : source.sinceMs) ?? this.#options.clock.monotonicMs();
    }
  }
}
