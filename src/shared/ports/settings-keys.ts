import { KeyRing } from '../model/settings-keys.ts';

/** The keys of sealed settings of this server. Their file may change while it runs. */
export interface SettingsKeys {
  /** As they are now. */
  ring(): KeyRing;
  /** Called when others are there. Returns the way to stop. */
  onChange(listener: () => void): () => void;
}

/** A server without keys, or with those of its environment. */
export const fixedSettingsKeys = (ring: KeyRing): SettingsKeys => ({ ring: () => ring, onChange: () => () => undefined });
export const noSettingsKeys: SettingsKeys = fixedSettingsKeys(KeyRing.none);
