import { setImmediate } from 'node:timers/promises';

/** Turns of the event loop: so many without an act of the driver are quiet, and so many are enough in any case. */
const QUIET_TURNS = 3;
const MOST_TURNS = 1_000;

/** Lets a driver do what it can do now. All promises that are due run in one turn, however many hang on each other. */
export async function untilQuiet(acts: () => number): Promise<void> {
  let quiet = 0;
  for (let turn = 0; turn < MOST_TURNS && quiet < QUIET_TURNS; turn += 1) {
    const before = acts();
    await setImmediate();
    quiet = acts() === before ? quiet + 1 : 0;
  }
}

/** After the code that runs now, and the promises that hang on it. */
export const nextTurn = (): Promise<void> => setImmediate();
