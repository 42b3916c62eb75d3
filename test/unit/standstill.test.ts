import { beforeEach, expect, it } from 'vitest';
import { defaultTimings } from '../../src/shared/control/lease.ts';
import { bootMaster, type MasterControl, type MasterEvent } from '../../src/shared/control/master-control.ts';
import { stepMaster } from '../../src/shared/control/master-step.ts';

/** A master that stood still for a while: what it could not hear says nothing of an edge. */

const terms = { failover: true, policy: 'available', timeoutMs: 20_000, paused: false } as const;
const epoch = { generation: 0, number: 2 };
let state: MasterControl;
const step = (event: MasterEvent): string => {
  ({ state } = stepMaster(state, event, defaultTimings));
  return state.state;
};
const due = (nowMs: number): string => step({ type: 'timer', nowMs, timer: 'due' });
const stoodStill = (nowMs: number, ms: number): string => step({ type: 'stood-still', nowMs, ms });
const linkDown = (nowMs: number, lastHeardMs: number): string => step({ type: 'link-down', nowMs, link: 1, lastHeardMs });

beforeEach(() => {
  state = bootMaster(null, terms, 0, defaultTimings);
  step({ type: 'booted', nowMs: 0 });
  step({ type: 'message', nowMs: 0, link: 1, message: { t: 'hello', negotiation: 1, epoch, state: 'holding', held: [] } });
  step({ type: 'message', nowMs: 0, link: 1, message: { t: 'control.claimed', negotiation: 1, epoch } });
});

it('the time in which the master stood still is no part of the timeout, whether it first hears of the loss or of its own sleep', () => {
  // Frozen from 100 s to 160 s; the edge was heard last at 99 s, and has given the link up meanwhile.
  expect([linkDown(160_000, 99_000), stoodStill(160_000, 60_000), due(160_000)]).toEqual(['suspect', 'suspect', 'suspect']);
  expect([due(178_999), due(179_000)]).toEqual(['suspect', 'taking-over']);
});

it('an edge that was away before is awaited for as long as was left', () => {
  linkDown(103_000, 100_000);
  stoodStill(160_000, 50_000);
  expect([due(169_999), due(170_000)]).toEqual(['suspect', 'taking-over']);
});

it('nobody is awaited longer than an edge that was heard just now', () => {
  // What had arrived meanwhile was read before the clock was looked at.
  linkDown(160_000, 160_000);
  stoodStill(160_010, 60_000);
  expect([due(180_009), due(180_010)]).toEqual(['suspect', 'taking-over']);
});

it('an operator who has ordered a takeover waits no longer, and whoever is suspected of nothing is not', () => {
  expect([stoodStill(60_000, 50_000), state.dueMs]).toEqual(['standby', null]);
  linkDown(63_000, 60_000);
  state = { ...state, takeoverOrdered: true, dueMs: 63_000 };
  stoodStill(70_000, 5_000);
  expect(due(70_000)).toBe('taking-over');
});
