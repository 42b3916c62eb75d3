import type { CredentialStore } from '../../src/shared/ports/credential-store.ts';

export function memoryCredentials(): CredentialStore {
  const values = new Map<string, string>();
  return {
    get: (key) => values.get(key) ?? null,
    set: async (key, value) => void values.set(key, value),
    compareAndSet: async (key, expected, value) => {
      if ((values.get(key) ?? null) !== expected) return false;
      if (value === null) values.delete(key);
      else values.set(key, value);
      return true;
    },
  };
}
