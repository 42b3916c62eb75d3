import { beforeEach, describe, expect, it } from 'vitest';
import { EdgeFreshness } from '../../src/edge/edge-freshness.ts';
import { bootEdge, type EdgeControl } from '../../src/shared/control/edge-control.ts';
import { FakeClock } from '../support/fake-clock.ts';

const terms = { failover: true, policy: 'available', timeoutMs: 20_000, paused: false } as const;
const standby: EdgeControl = { ...bootEdge(null, terms), state: 'standby' };

let clock: FakeClock;
let control: EdgeControl;
let peer: { state: 'down' | 'negotiating' | 'open'; silentSinceMs: number | null };
let watched: Set<string>;
let told: [location: string, ageMs: number | null][];
let edge: EdgeFreshness;
beforeEach(() => {
  clock = new FakeClock();
  control = standby;
  peer = { state: 'open', silentSinceMs: null };
  watched = new Set(['lisbon']);
  told = [];
  edge = new EdgeFreshness({ clock, location: 'berlin', control: () => control, peer, subscriptions: { holdsAt: (_, location) => watched.has(location) } });
  edge.freshness.onChange((location) => void told.push([location, edge.freshness.ageMs(location)]));
});

describe('at an edge, values of another location', () => {
  const cut = (): void => {
    Object.assign(peer, { state: 'down', silentSinceMs: clock.monotonicMs() - 3_000 });
    edge.linkDown();
  };
  const mend = (): void => {
    Object.assign(peer, { state: 'open', silentSinceMs: null });
    edge.freshness.look();
  };

  it('stand still when the master says so, for as long, and until it says that they do no more', async () => {
    expect(edge.freshness.ageMs('lisbon')).toBeNull();
    edge.hear({ location: 'lisbon', ageMs: 4_000 });
    await clock.advance(1_000);
    expect(edge.freshness.ageMs('lisbon')).toBe(5_000);
    edge.hear({ location: 'lisbon', ageMs: null });
    expect(told).toEqual([['lisbon', 4_000], ['lisbon', null]]);
    expect(() => edge.hear({ location: 'lisbon', ageMs: 'long' })).toThrow('ageMs');
  });

  it('stand still while the master is not heard, and after that as it says', async () => {
    edge.hear({ location: 'lisbon', ageMs: null });
    cut();
    await clock.advance(2_000);
    // It was lost meanwhile: the link alone does not make it fresh.
    mend();
    expect(edge.freshness.ageMs('lisbon')).toBe(5_000);
    edge.hear({ location: 'lisbon', ageMs: 1_000 });
    expect(told).toEqual([['lisbon', 3_000]]);
    edge.hear({ location: 'lisbon', ageMs: null });
    expect(told).toEqual([['lisbon', 3_000], ['lisbon', null]]);
  });

  it('are as old as the master said when its link is cut too', async () => {
    edge.hear({ location: 'lisbon', ageMs: 60_000 });
    cut();
    expect(edge.freshness.ageMs('lisbon')).toBe(60_000);
  });

  it('that nobody watches any more are not taken for what was said of them last', () => {
    edge.hear({ location: 'lisbon', ageMs: 4_000 });
    watched.clear();
    edge.released('lisbon');
    watched.add('lisbon');
    expect(edge.freshness.ageMs('lisbon')).toBeNull();
    edge.hear({ location: 'porto', ageMs: 4_000 });
    expect(edge.freshness.ageMs('porto')).toBeNull();
  });
});

describe('at an edge, values of its own location', () => {
  const link = { number: 1, negotiation: 1, helloSentMs: 0, upMs: 0, granted: false };
  const verdict = (winner: 'edge' | 'master') => ({ winner, reason: 'any', terms });
  const after = (changes: Partial<EdgeControl>): number | null => {
    control = { ...control, ...changes };
    edge.freshness.look();
    return edge.freshness.ageMs('berlin');
  };

  it('are fresh while the master drives and is heard, also while both negotiate anew, and not once control returns', () => {
    const durable = { ...standby.durable, holder: 'master' as const };
    expect(after({ durable, link: { ...link, verdict: verdict('master') } })).toBeNull();
    expect(after({ link: { ...link, negotiation: 2, verdict: null } })).toBeNull();
    expect(after({ link: { ...link, negotiation: 2, verdict: verdict('master') } })).toBeNull();
    expect(told).toEqual([]);
    expect(after({ link: { ...link, negotiation: 3, verdict: verdict('edge') } })).toBe(0);
    expect(after({ state: 'claiming', durable: { ...durable, holder: 'edge' } })).toBe(0);
    expect(after({ state: 'holding' })).toBeNull();
  });

  it('stand still when nobody drives, whoever says that it does', () => {
    expect(after({ link: { ...link, verdict: null } })).toBe(0);
    edge.hear({ location: 'berlin', ageMs: null });
    expect(edge.freshness.ageMs('berlin')).toBe(0);
  });
});
