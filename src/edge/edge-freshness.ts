import type { EdgeControl } from '../shared/control/edge-control.ts';
import type { Json } from '../shared/foundation/json.ts';
import type { Clock } from '../shared/ports/clock.ts';
import { Freshness, type Source } from '../shared/runtime/status/freshness.ts';
import { readBody, stalenessBody } from '../shared/runtime/peer/peer-bodies.ts';
import type { PeerLink } from '../shared/runtime/peer/peer-link.ts';
import type { PeerSubscriptions } from '../shared/runtime/peer/peer-subscriptions.ts';
import { hearsMaster } from './edge-route.ts';

export interface EdgeFreshnessOptions {
  clock: Clock;
  /** Of this edge. */
  location: string;
  /** null: it has not started. */
  control(): EdgeControl | null;
  peer: Pick<PeerLink, 'state' | 'silentSinceMs'>;
  subscriptions: Pick<PeerSubscriptions, 'holdsAt'>;
}

/** What an edge knows of values that stand still: of its own location by itself, of others what the master says of those that it watches. */
export class EdgeFreshness {
  readonly freshness: Freshness;
  readonly #options: EdgeFreshnessOptions;
  /** By location: monotonic time since when its values stand still at the master; null: they do not. */
  readonly #said = new Map<string, number | null>();

  constructor(options: EdgeFreshnessOptions) {
    this.#options = options;
    this.freshness = new Freshness({ clock: options.clock, source: (location) => this.#source(location) });
  }

  /** What the master says of a location that is watched. Throws INPUT_INVALID. */
  hear(body: Json): void {
    const { location, ageMs } = readBody(stalenessBody, body);
    if (location === this.#options.location || !this.#options.subscriptions.holdsAt('watch', location)) return;
    this.#said.set(location, ageMs === null ? null : this.#options.clock.monotonicMs() - ageMs);
    this.freshness.look(location);
  }

  /** A module of this location is watched no more: of what nobody watches nothing is said, and the last word would grow old. */
  released(location: string): void {
    if (this.#options.subscriptions.holdsAt('watch', location)) return;
    this.#said.delete(location);
    this.freshness.look(location);
  }

  /** What the master has said may be over when it is heard again. */
  linkDown(): void {
    this.#said.clear();
    this.freshness.look();
  }

  #source(location: string): Source {
    const { control, peer, subscriptions } = this.#options;
    const state = control();
    const isOpen = peer.state === 'open';
    const nobody = { via: 'nobody', sinceMs: peer.silentSinceMs } as const;
    if (state === null) return nobody;
    if (location === this.#options.location) {
      if (state.state === 'holding') return { via: 'here' };
      return hearsMaster(state, isOpen) ? { via: 'peer' } : nobody;
    }
    if (!isOpen) return nobody;
    const saidMs = this.#said.get(location);
    if (saidMs === undefined) return { via: subscriptions.holdsAt('watch', location) ? 'unsaid' : 'peer' };
    return saidMs === null ? { via: 'peer' } : { via: 'nobody', sinceMs: saidMs };
  }
}
