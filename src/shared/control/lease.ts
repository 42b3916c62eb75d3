/** Times of the negotiation, in milliseconds. Handed in, so that the model can use small numbers. */
export interface ControlTimings {
  /** An edge without a link for this long, whose next attempt failed, is disconnected. */
  disconnectMs: number;
  /** How long an edge waits for the grant that a verdict announced. */
  grantWaitMs: number;
  /** How long the master waits for the fresh hello that it asked for. */
  helloWaitMs: number;
  /** How long the master waits for `released` after an order. */
  releaseWaitMs: number;
  /** After a journal that could not be written, or a takeover that failed. */
  retryMs: number;
  /** Deadline of stopping all modules of a location. */
  stopMs: number;
  /** T: the edge's control under `exclusive` is a lease of this length. */
  leaseMs: number;
  /** m: the edge stops writing this long before its lease ends. */
  leaseMarginMs: number;
  /** D: the device sockets are closed this long after writing ended. */
  leaseCloseMs: number;
  /** L: what the master waits on top. */
  leaseSlackMs: number;
  /** r: bound on the drift of a monotonic clock, as a share. */
  clockDrift: number;
  flap: FlapTimings;
}

export interface FlapTimings {
  /** Link breaks within `withinMs` that start a hold-down. */
  breaks: number;
  withinMs: number;
  /** First hold-down; each further one doubles. */
  firstMs: number;
  capMs: number;
}

export const defaultTimings: ControlTimings = {
  disconnectMs: 3_000,
  grantWaitMs: 15_000,
  helloWaitMs: 5_000,
  releaseWaitMs: 10_000,
  retryMs: 1_000,
  stopMs: 2_000,
  leaseMs: 10_000,
  leaseMarginMs: 2_000,
  leaseCloseMs: 2_000,
  leaseSlackMs: 1_000,
  clockDrift: 0.02,
  flap: { breaks: 4, withinMs: 60_000, firstMs: 30_000, capMs: 600_000 },
};

/** Edge: writes end here, counted from when the hello or renewal that was answered was SENT. */
export const writesEndMs = (sentMs: number, timings: ControlTimings): number => sentMs + timings.leaseMs - timings.leaseMarginMs;

/** Master: the earliest takeover, counted from when it sent the grant or received the renewal, whichever is later. */
export const leaseSurelyOverMs = (confirmedMs: number, timings: ControlTimings): number =>
  confirmedMs + timings.leaseMs * (1 + timings.clockDrift) + timings.leaseSlackMs;

/** Section 5: on clocks that drift by at most r, the edge has closed its sockets before the master may take over. */
export function leaseIsSafe(timings: ControlTimings): boolean {
  const { leaseMs, leaseMarginMs, leaseCloseMs, leaseSlackMs, clockDrift } = timings;
  return (leaseMs - leaseMarginMs + leaseCloseMs) * (1 + clockDrift) <= (leaseMs * (1 + clockDrift) + leaseSlackMs) * (1 - clockDrift);
}
