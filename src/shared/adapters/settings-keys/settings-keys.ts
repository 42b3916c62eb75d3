import { readFileSync, statSync } from 'node:fs';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import { KeyRing } from '../../model/settings-keys.ts';
import type { Clock, Timer } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { SettingsKeys } from '../../ports/settings-keys.ts';

export interface KeyFile extends SettingsKeys {
  close(): Promise<void>;
}

/** What the file is now; throws what a person should read, and never what is in the file. */
export function readKeyFile(path: string): { ring: KeyRing; mode: number } {
  const ring = KeyRing.parse(readFileSync(path, 'utf8'));
  if (!(ring instanceof KeyRing)) throw new Error(`${path} ${ring.problem}`);
  return { ring, mode: statSync(path).mode & 0o777 };
}

/** The keys of a file, which is looked at now and then. One that cannot be read any more leaves the keys as they were. Throws CONFIG_INVALID. */
export function openKeyFile(path: string, { clock, log }: { clock: Clock; log: Log }): KeyFile {
  const listeners = new Set<() => void>();
  let seen = stampOf(path);
  let ring = first();
  let timer = later();

  function first(): KeyRing {
    try {
      return read();
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      throw new HoldfastError('CONFIG_INVALID', { variable: 'HOLDFAST_SETTINGS_KEYS_FILE', problem }, { cause: error });
    }
  }

  function read(): KeyRing {
    const found = readKeyFile(path);
    log.info('settings-keys', { path, keys: found.ring.ids });
    if ((found.mode & 0o077) !== 0) log.warn('settings-keys-readable', { path, mode: found.mode.toString(8) });
    return found.ring;
  }

  function look(): KeyRing {
    const stamp = stampOf(path);
    if (stamp === seen) return ring;
    seen = stamp;
    try {
      ring = read();
      // Who asked for the keys goes on first.
      queueMicrotask(() => listeners.forEach((listener) => listener()));
    } catch (error) {
      log.warn('settings-keys-kept', { path, error });
    }
    return ring;
  }

  function later(): Timer {
    return clock.after(limits.settingsKeysLookMs, () => {
      look();
      timer = later();
    });
  }

  return {
    ring: look,
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close: async () => timer.cancel(),
  };
}

/** Changes with each write of the file, and when another one takes its place. */
function stampOf(path: string): string {
  const { ino, size, mtimeMs } = statSync(path, { throwIfNoEntry: false }) ?? { ino: 0, size: 0, mtimeMs: 0 };
  return `${ino} ${size} ${mtimeMs}`;
}
