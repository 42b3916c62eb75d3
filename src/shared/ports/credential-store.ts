/** Node-local secrets: verifiers, one-time tokens, the node's own secret. Never replicated, never logged. */
export interface CredentialStore {
  get(key: string): string | null;
  /** Durable when resolved. */
  set(key: string, value: string): Promise<void>;
  /** Changes the value only if it is `expected` (null: absent); a `value` of null deletes. False: it was another. */
  compareAndSet(key: string, expected: string | null, value: string | null): Promise<boolean>;
}
