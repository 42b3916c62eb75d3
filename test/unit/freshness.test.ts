import { beforeEach, describe, expect, it } from 'vitest';
import { Freshness, type Source } from '../../src/shared/runtime/status/freshness.ts';
import { FakeClock } from '../support/fake-clock.ts';

const here: Source = { via: 'here' };
const peer: Source = { via: 'peer' };

let clock: FakeClock;
let source: Source;
let changes: [location: string, ageMs: number | null][];
let freshness: Freshness;
const nobody = (sinceMs: number | null): Source => ({ via: 'nobody', sinceMs });
const see = (next: Source): void => {
  source = next;
  freshness.look('edge-1');
};
beforeEach(() => {
  clock = new FakeClock();
  changes = [];
  freshness = new Freshness({ clock, source: () => source });
  freshness.onChange((location) => void changes.push([location, freshness.ageMs(location)]));
});

describe('the values of a location', () => {
  it('are fresh where the devices are driven, and where who drives them is heard', () => {
    for (source of [here, peer]) expect(freshness.ageMs('edge-1')).toBeNull();
    expect(changes).toEqual([]);
  });

  it('stand still since the other node was last heard when its link is found dead, until it is heard again', async () => {
    see(peer);
    await clock.advance(10_000);
    source = nobody(clock.monotonicMs() - 3_000);
    freshness.look();
    await clock.advance(2_000);
    expect(freshness.ageMs('edge-1')).toBe(5_000);
    // A later attempt that comes to nothing makes nothing younger.
    see(nobody(clock.monotonicMs()));
    expect(freshness.ageMs('edge-1')).toBe(5_000);
    see(here);
    expect(changes).toEqual([['edge-1', 3_000], ['edge-1', null]]);
  });

  it('stand still from the moment on when control moves while the link is up', async () => {
    see(peer);
    await clock.advance(60_000);
    see(nobody(null));
    await clock.advance(100);
    expect(freshness.ageMs('edge-1')).toBe(100);
  });

  it('stand still from the moment on when this node lets go, however long ago a link was lost', async () => {
    const lostMs = clock.monotonicMs();
    await clock.advance(10_000);
    see(here);
    see(nobody(lostMs));
    await clock.advance(500);
    expect(freshness.ageMs('edge-1')).toBe(500);
  });

  it('are as they were until who knows has said it', async () => {
    see({ via: 'unsaid' });
    expect(freshness.ageMs('edge-1')).toBeNull();
    see(nobody(null));
    await clock.advance(700);
    see({ via: 'unsaid' });
    expect(freshness.ageMs('edge-1')).toBe(700);
    see(peer);
    expect(changes).toEqual([['edge-1', 0], ['edge-1', null]]);
  });
});
