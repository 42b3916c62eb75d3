import { fileURLToPath } from 'node:url';
import { splitSettings } from '../driver-host/connection-settings.ts';
import { createSystemClock } from '../shared/adapters/clock/system-clock.ts';
import { createHostProcesses } from '../shared/adapters/host-process/host-process.ts';
import { parseInput } from '../shared/client-api/parse.ts';
import { type JsonObject, pathText } from '../shared/foundation/json.ts';
import { fromWire, HoldfastError } from '../shared/model/errors.ts';
import { replaceInSettings, wholeProblem } from '../shared/model/secrets.ts';
import { settingsSchema } from '../shared/model/values.ts';
import type { Log } from '../shared/ports/log.ts';
import type { HostEnd } from '../shared/runtime/driver-hosts/host-peer.ts';
import type { CheckedDriver } from '../shared/runtime/driver-hosts/messages.ts';
import { Trial } from '../shared/runtime/driver-hosts/trial.ts';
import { compile } from './compile.ts';
import { driverFileAt, placeIn, type DriverFile } from './driver-files.ts';

/** The file as somebody named it. Throws NOT_FOUND. */
function requireDriverFile(path: string): DriverFile {
  const file = driverFileAt(path);
  if (file === null) throw new HoldfastError('NOT_FOUND', { kind: 'driver', id: `${path}: name a file such as lamp.ts, or a folder with driver.ts in it` });
  return file;
}

/** The path of what was compiled, also where this was not: driver hosts run compiled code only. */
const hostEntry = fileURLToPath(new URL('../../dist/driver-host/main.js', import.meta.url));

export interface CheckOptions {
  path: string;
  settings: JsonObject;
  /** Aborts when nobody waits any more. */
  signal: AbortSignal;
  /** What the driver prints. */
  print(text: string): void;
}

/**
 * Loads a driver and sets it up without a device, in a process of its own, for what it says of itself. Throws DRIVER_INVALID,
 * and INPUT_INVALID for settings that do not fit.
 */
export async function checkDriver({ path, settings, signal, print }: CheckOptions): Promise<CheckedDriver> {
  const file = requireDriverFile(path);
  const own = ownSettings(settings);
  const compiled = { ...file, code: await compile(file.entry) };
  signal.throwIfAborted();
  const base = { clock: createSystemClock(), log: silent };
  const trial = new Trial(createHostProcesses({ entry: hostEntry }).startTrial(), base, { hide: (text) => text, log: ({ message }) => print(message) });
  const interrupt = (): void => void trial.kill();
  signal.addEventListener('abort', interrupt, { once: true });
  try {
    const { answer, end } = await trial.ask({ t: 'check', compiled, settings: own });
    signal.throwIfAborted();
    if (answer?.t === 'checked') return answer.checked;
    throw answer?.t === 'error' ? fromWire(answer.error) : new HoldfastError('DRIVER_INVALID', describeEnd(end, file.entry));
  } finally {
    signal.removeEventListener('abort', interrupt);
    await trial.kill();
  }
}

/** Where and why the code ended its process. */
function describeEnd(end: HostEnd | null, entry: string): { place: string; problem: string } {
  const { words = null, reason = '' } = end ?? {};
  if (words?.lastWords !== 'stalled') return { place: placeIn(reason, entry), problem: reason.split('\n')[0] ?? '' };
  const part = words.culprit?.split('/').at(-1) ?? 'its code';
  return { place: entry, problem: `${part} did not return: ${words.problem}; it must not loop or block, and await what takes time` };
}

const ignored = (): void => undefined;
/** What becomes of the process is the result. */
const silent: Log = { debug: ignored, info: ignored, warn: ignored, error: ignored, child: () => silent };

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
