import { beforeEach, expect, it } from 'vitest';
import { AliveMarks } from '../../src/shared/runtime/location/alive-marks.ts';
import { FakeClock } from '../support/fake-clock.ts';

let clock: FakeClock;
/** When something was said, in seconds since the test began: of all locations. */
let said: number[];
const state = { linked: true, holding: true };

const marks = (): AliveMarks =>
  new AliveMarks({ clock, linked: () => state.linked, holding: () => state.holding, say: () => void said.push(clock.monotonicMs() / 1_000) });

beforeEach(() => {
  clock = new FakeClock();
  said = [];
  Object.assign(state, { linked: true, holding: true });
});

it('a holder that is heard says every ten seconds that it holds, all locations in the same moments', async () => {
  const all = [marks(), marks()];
  await clock.advance(300);
  all[0]?.begin();
  await clock.advance(3_100);
  all[1]?.begin();
  await clock.advance(27_000);
  expect(said).toEqual([0.3, 3.4, 10, 10, 20, 20, 30, 30]);
  for (const one of all) one.close();
  expect(clock.pendingTimers).toBe(0);
});

it('one that nobody hears says it every second, from the next second on, and no more once it does not hold', async () => {
  const one = marks();
  one.begin();
  await clock.advance(1_500);
  state.linked = false;
  await clock.advance(2_000);
  expect(said).toEqual([0, 2, 3]);
  state.holding = false;
  await clock.advance(10_000);
  expect(said).toEqual([0, 2, 3]);
  expect(clock.pendingTimers).toBe(0);
  state.holding = true;
  one.begin();
  expect(said).toEqual([0, 2, 3, 13.5]);
});
