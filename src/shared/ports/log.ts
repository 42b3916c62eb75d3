/** Structured log: a stable event word, then facts. Never a secret. */
export interface Log {
  debug(event: string, facts?: object): void;
  info(event: string, facts?: object): void;
  warn(event: string, facts?: object): void;
  error(event: string, facts?: object): void;
  child(facts: object): Log;
}
