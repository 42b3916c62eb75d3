export interface BackoffOptions {
  /** Delay before the first retry, in milliseconds. */
  firstMs: number;
  /** Longest delay, in milliseconds. */
  maxMs: number;
  factor: number;
  /** Share of the delay that is drawn at random, 0 to 1, so that many peers do not come back at the same instant. */
  jitter: number;
}

/** Delay before retry number `attempt` (0 is the first), in milliseconds. `draw` is uniform in [0, 1). */
export function backoffMs(options: BackoffOptions, attempt: number, draw: number): number {
  const ideal = Math.min(options.maxMs, options.firstMs * options.factor ** attempt);
  return Math.round(ideal * (1 - options.jitter / 2 + options.jitter * draw));
}
