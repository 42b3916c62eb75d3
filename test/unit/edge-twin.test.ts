import { expect, it } from 'vitest';
import { bootEdge, type EdgeControl } from '../../src/shared/control/edge-control.ts';
import { stepEdge } from '../../src/shared/control/edge-step.ts';
import { defaultTimings } from '../../src/shared/control/lease.ts';

const terms = { failover: true, policy: 'available', timeoutMs: 20_000, paused: false } as const;

/** Booted, without a link for 3 s, and then let in for a moment. */
function afterLink(end: { hasTwin: boolean }): EdgeControl {
  const events = [
    { type: 'loaded', nowMs: 0 },
    { type: 'link-up', nowMs: 3_000, link: 1 },
    { type: 'link-down', nowMs: 3_010, link: 1, ...end },
  ] as const;
  return events.reduce((state, event) => stepEdge(state, event, defaultTimings).state, bootEdge(null, terms));
}

it('an edge that a master lets in and leaves without a verdict claims; a copy of a machine whose original is connected does not', () => {
  expect(afterLink({ hasTwin: false })).toMatchObject({ state: 'claiming' });
  expect(afterLink({ hasTwin: true })).toMatchObject({ state: 'connecting', link: null });
});
