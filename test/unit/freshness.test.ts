import { beforeEach, describe, expect, it } from 'vitest';
import { Freshness } from '../../src/shared/runtime/freshness.ts';
import type { Route } from '../../src/shared/runtime/proxy.ts';
import { FakeClock } from '../support/fake-clock.ts';

const here: Route = { via: 'here', epoch: { generation: 0, number: 1 } };
const peer: Route = { via: 'peer', peer: 'edge-1', request: () => Promise.resolve(null) };
const wait: Route = { via: 'wait' };

let clock: FakeClock;
let route: Route;
let silentSinceMs: number | null;
let changes: [location: string, ageMs: number | null][];
let freshness: Freshness;
beforeEach(() => {
  clock = new FakeClock();
  silentSinceMs = null;
  changes = [];
  freshness = new Freshness({ clock, route: () => route, silentSinceMs: () => silentSinceMs });
  freshness.onChange((location) => void changes.push([location, freshness.ageMs(location)]));
});

describe('the values of a location', () => {
  it('are fresh where the devices are driven, and where who drives them is heard', () => {
    for (route of [here, peer]) expect(freshness.ageMs('edge-1')).toBeNull();
    expect(changes).toEqual([]);
  });

  it('stand still since the other node was last heard when its link is found dead, until it is heard again', async () => {
    route = peer;
    freshness.look('edge-1');
    await clock.advance(10_000);
    silentSinceMs = clock.monotonicMs() - 3_000;
    route = wait;
    freshness.look();
    await clock.advance(2_000);
    expect(freshness.ageMs('edge-1')).toBe(5_000);
    // A later attempt that comes to nothing makes nothing younger.
    silentSinceMs = clock.monotonicMs();
    route = { via: 'nobody', reason: 'edge-lost' };
    freshness.look('edge-1');
    expect(freshness.ageMs('edge-1')).toBe(5_000);
    route = here;
    freshness.look('edge-1');
    expect(changes).toEqual([['edge-1', 3_000], ['edge-1', null]]);
  });

  it('stand still from the moment on when control moves while the link is up', async () => {
    route = peer;
    freshness.look('edge-1');
    await clock.advance(60_000);
    route = wait;
    freshness.look('edge-1');
    await clock.advance(100);
    expect(freshness.ageMs('edge-1')).toBe(100);
  });

  it('stand still from the moment on when this node lets go, however long ago a link was lost', async () => {
    silentSinceMs = clock.monotonicMs();
    await clock.advance(10_000);
    route = here;
    freshness.look('edge-1');
    route = wait;
    freshness.look('edge-1');
    await clock.advance(500);
    expect(freshness.ageMs('edge-1')).toBe(500);
  });
});
