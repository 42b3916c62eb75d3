import { KeyRing, settingsKeyLine } from '../../src/shared/model/settings-keys.ts';
import { fixedSettingsKeys, type SettingsKeys } from '../../src/shared/ports/settings-keys.ts';
import type { Sealing } from '../../src/shared/runtime/site-files/site-secrets.ts';

/** Lines of keys that tests seal with: always the same ones. */
export const keyLine = (digit: string): string => settingsKeyLine(digit.repeat(64));
export const keyId = (digit: string): string => keyLine(digit).split('.', 1)[0] ?? '';

/** The keys of these digits, the first of which seals. */
export function ringOf(...digits: string[]): KeyRing {
  const ring = digits.length === 0 ? KeyRing.none : KeyRing.parse(digits.map(keyLine).join('\n'));
  if (!(ring instanceof KeyRing)) throw new Error(ring.problem);
  return ring;
}

/** Sealing with nonces that count up. */
export function sealingWith(...digits: string[]): Sealing {
  let drawn = 0;
  return { keys: fixedSettingsKeys(ringOf(...digits)), random: { hex: (bytes) => (drawn += 1).toString(16).padStart(2 * bytes, '0') } };
}

/** Keys that a test changes while they are in use. */
export function changingKeys(ring: KeyRing): SettingsKeys & { change(next: KeyRing): void } {
  const listeners = new Set<() => void>();
  let now = ring;
  return {
    ring: () => now,
    onChange: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    change(next) {
      now = next;
      for (const listener of listeners) listener();
    },
  };
}
