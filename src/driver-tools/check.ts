import { splitSettings } from '../driver-host/connection-settings.ts';
import { type Driver, createHarness } from '../driver-sdk/index.ts';
import { describeSchema } from '../driver-sdk/functions.ts';
import { parseInput } from '../shared/client-api/parse.ts';
import { type JsonObject, pathText } from '../shared/foundation/json.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import { replaceInSettings, wholeProblem } from '../shared/model/secrets.ts';
import { settingsSchema } from '../shared/model/values.ts';
import type { ModuleFunction } from '../shared/ports/device-link.ts';
import { driverFileAt, loadDriver, placeOf, type DriverFile } from './driver-files.ts';

export interface CheckedDriver {
  name: string;
  role: Driver['role'];
  transports: Driver['transports'];
  /** JSON schema of its settings. */
  settings: JsonObject;
  functions: Record<string, ModuleFunction>;
  /** Status variables that it has right after its setup. */
  status: string[];
}

/** The file as somebody named it. Throws NOT_FOUND. */
export function requireDriverFile(path: string): DriverFile {
  const file = driverFileAt(path);
  if (file === null) throw new HoldfastError('NOT_FOUND', { kind: 'driver', id: `${path}: name a file such as lamp.ts, or a folder with driver.ts in it` });
  return file;
}

/**
 * Loads a driver and sets it up without a device, for what it says of itself. Throws DRIVER_INVALID, and INPUT_INVALID for
 * settings that do not fit.
 */
export async function checkDriver(path: string, settings: JsonObject): Promise<CheckedDriver> {
  const file = requireDriverFile(path);
  const own = ownSettings(settings);
  const driver = await loadDriver(file);
  const harness = createHarness(driver, { settings: own });
  try {
    // A setup that waits for ever ends by its deadline, for the clock of the harness is moved past that.
    await Promise.all([harness.start(), harness.advance(limits.driverSetupMs)]);
  } catch (error) {
    if (error instanceof HoldfastError && error.code !== 'DRIVER_FAILED') throw error;
    const cause = error instanceof Error ? (error.cause ?? error) : error;
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new HoldfastError('DRIVER_INVALID', { place: placeOf(cause, file.entry), problem: `its setup failed: ${problem}` }, { cause: error });
  }
  const { name, role, transports } = driver;
  const checked = { name, role, transports, settings: describeSchema(driver.settings), functions: harness.functions(), status: Object.keys(harness.status) };
  await harness.stop();
  return checked;
}

/** What a server gives a driver of the settings of its module: secrets opened, and without those of the connection. Throws INPUT_INVALID. */
function ownSettings(given: JsonObject): JsonObject {
  const invalid = (field: string, problem: string): HoldfastError => new HoldfastError('INPUT_INVALID', { field, problem });
  const settings = parseInput(settingsSchema, given, 'settings');
  const whole = wholeProblem(settings);
  if (whole !== null) throw invalid('settings', whole);
  const opened = replaceInSettings('', settings, (mark, [, ...path]) => {
    if (mark.form === 'plain') return mark.value;
    throw invalid(pathText(path), mark.form === 'wrong' ? mark.problem : 'is sealed, and only its server can open it: write it as $secret');
  });
  return splitSettings(opened).own;
}
