import { expect, it } from 'vitest';
import { defaultTimings } from '../../src/shared/control/lease.ts';
import { bootMaster, edgeDrives, type MasterControl, type MasterEvent } from '../../src/shared/control/master-control.ts';
import { stepMaster } from '../../src/shared/control/master-step.ts';
import type { EdgeState } from '../../src/shared/control/messages.ts';

const terms = { failover: true, policy: 'available', timeoutMs: 20_000, paused: false } as const;
const epoch = { generation: 0, number: 2 };

let state: MasterControl;
const step = (event: MasterEvent): boolean => {
  ({ state } = stepMaster(state, event, defaultTimings));
  return edgeDrives(state);
};
const hello = (negotiation: number, said: EdgeState): MasterEvent =>
  ({ type: 'message', nowMs: 0, link: 1, message: { t: 'hello', negotiation, epoch, state: said, held: [] } });
const claimed = (negotiation: number): MasterEvent => ({ type: 'message', nowMs: 0, link: 1, message: { t: 'control.claimed', negotiation, epoch } });

it('an edge drives once it has claimed, also while its terms are negotiated anew, and not when it is told to let go', () => {
  state = bootMaster(null, terms, 0, defaultTimings);
  step({ type: 'booted', nowMs: 0 });
  // It only claims: its devices are not driven yet.
  expect([edgeDrives(state), step(hello(1, 'connecting')), step(claimed(1))]).toEqual([false, false, true]);
  expect(step({ type: 'terms', nowMs: 0, terms: { ...terms, timeoutMs: 30_000 } })).toBe(true);
  expect([step(hello(2, 'holding')), step(claimed(2))]).toEqual([true, true]);
  expect(step({ type: 'order', nowMs: 0, order: 'takeover' })).toBe(false);
  step({ type: 'message', nowMs: 0, link: 1, message: { t: 'control.released', negotiation: 2, epoch, reason: 'operator-takeover', snapshot: null } });
  expect(step({ type: 'modules-started', nowMs: 0, run: state.run })).toBe(false);
  // The same while the master holds and asks for a fresh hello.
  expect([state.state, step({ type: 'order', nowMs: 0, order: 'handback' }), step(hello(3, 'standby'))]).toEqual(['holding', false, false]);
});

it('an edge that is lost does not drive as far as anybody hears, and does again when it comes back and holds', () => {
  state = bootMaster(null, terms, 0, defaultTimings);
  for (const event of [{ type: 'booted', nowMs: 0 } as const, hello(1, 'connecting'), claimed(1)]) step(event);
  expect(step({ type: 'link-down', nowMs: 0, link: 1, lastHeardMs: 0 })).toBe(false);
  expect(step(hello(2, 'holding'))).toBe(true);
});
