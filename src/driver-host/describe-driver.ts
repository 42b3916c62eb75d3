import { createHarness, type Driver, type Harness } from '../driver-sdk/index.ts';
import { describeSchema } from '../driver-sdk/functions.ts';
import { placeOf } from '../driver-tools/driver-files.ts';
import type { JsonObject } from '../shared/foundation/json.ts';
import { HoldfastError, textOfThrown } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { CheckedDriver } from '../shared/runtime/driver-hosts/messages.ts';

interface Described {
  entry: string;
  settings: JsonObject;
  /** Of the world: that of the harness stands still. */
  clock: Clock;
  run(entering: () => void): Promise<Driver>;
  /** This part of the driver is about to run. */
  entered(part: string): void;
}

/** By so much the clock of the harness follows that of the world. */
const STEP_MS = 10;

/**
 * Loads a driver and sets it up without a device, for what it says of itself. Throws DRIVER_INVALID, and INPUT_INVALID for
 * settings that do not fit.
 */
export async function describeDriver({ entry, settings, clock, run, entered }: Described): Promise<CheckedDriver> {
  const driver = await run(() => entered('its code'));
  entered('its setup');
  const harness = await setUp(driver, settings, clock).catch((error: unknown) => {
    throw failedSetup(error, entry);
  });
  // What it does first, such as in `schedule.in(0, …)`, makes status variables too.
  entered('what it schedules');
  await harness.advance(limits.driverSetupMs);
  const { name, role, transports } = driver;
  const functions = harness.functions();
  return { name, role, transports: [...transports], settings: describeSchema(driver.settings), functions, status: Object.keys(harness.status) };
}

/** A setup may wait for the world, such as for a file: the clock of the harness follows that of the world until it has ended. */
async function setUp(driver: Driver, settings: JsonObject, clock: Clock): Promise<Harness> {
  const harness = createHarness(driver, { settings });
  let over = false;
  const started = harness.start().finally(() => (over = true));
  started.catch(() => undefined);
  // What needs no time gets none.
  await harness.advance(0);
  const isOver = (): boolean => over;
  while (!isOver()) {
    await new Promise<void>((resolve) => clock.after(STEP_MS, resolve));
    await harness.advance(STEP_MS);
  }
  await started;
  return harness;
}

function failedSetup(error: unknown, entry: string): HoldfastError {
  if (error instanceof HoldfastError && error.code !== 'DRIVER_FAILED') return error;
  // Its deadline says by itself what it is about.
  const problem = error instanceof HoldfastError ? textOfThrown(error.facts['problem']) : `its setup failed: ${textOfThrown(error)}`;
  return new HoldfastError('DRIVER_INVALID', { place: placeOf(error, entry), problem }, { cause: error });
}
