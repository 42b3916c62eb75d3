import { defaultTimings, leaseIsSafe, type ControlTimings } from '../../shared/control/lease.ts';
import { assert } from '../../shared/foundation/assert.ts';
import type { Terms } from '../../shared/model/control.ts';
import { search, type SearchReport } from './search.ts';
import { type FaultKind, faultKinds, type ModelConfig } from './world.ts';

export type ModelPolicy = 'available' | 'exclusive' | 'no-failover';
export type ModelSize = 'small' | 'full';

export interface ModelOptions {
  policy: ModelPolicy;
  size: ModelSize;
  onProgress?(progress: { config: string; states: number; depth: number }): void;
  signal?: AbortSignal;
}

export interface ModelReport {
  policy: ModelPolicy;
  size: ModelSize;
  /** One search a configuration: the policy itself, and what it changes to. */
  searches: SearchReport[];
  /** States, transitions, rows of the table and kinds of message that no search reached. */
  missing: string[];
  ok: boolean;
}

/** Small whole numbers that keep the order and the arithmetic of the real ones; without drift, so that the lease bound is tight. */
const modelTimings: ControlTimings = {
  ...defaultTimings,
  disconnectMs: 1,
  grantWaitMs: 3,
  helloWaitMs: 2,
  releaseWaitMs: 2,
  retryMs: 1,
  stopMs: 1,
  leaseMs: 4,
  leaseMarginMs: 1,
  leaseCloseMs: 1,
  leaseSlackMs: 0,
  clockDrift: 0,
  flap: { breaks: 1_000, withinMs: 1, firstMs: 1, capMs: 1 },
};

const failover = (policy: Terms['policy']): Terms => ({ failover: true, policy, timeoutMs: 3, paused: false });
const termsOf: Record<ModelPolicy, Terms> = {
  available: failover('available'),
  exclusive: failover('exclusive'),
  'no-failover': { ...failover('available'), failover: false },
};
const others = (policy: ModelPolicy): Terms[] => Object.values(termsOf).filter((terms) => terms !== termsOf[policy]);

interface Shape {
  name: string;
  faults: number;
  /** Of these kinds only; all when it says nothing. */
  kinds?: readonly FaultKind[];
  orders?: number;
  windows?: number;
  terms?: number;
  delay?: number;
  reasons?: true;
  holdDown?: true;
}

/** What each size searches: a fault costs much more than an order, so that no search has most of everything. */
export const shapes: Record<ModelSize, readonly Shape[]> = {
  small: [
    { name: 'faults', faults: 1 },
    { name: 'orders and windows', faults: 0, orders: 1, windows: 1, reasons: true },
  ],
  full: [
    { name: 'slow messages', faults: 1, delay: 1 },
    { name: 'faults, orders and windows', faults: 1, orders: 1, windows: 1 },
    { name: 'orders and windows', faults: 0, orders: 3, windows: 2, reasons: true },
    { name: 'changes of policy', faults: 1, terms: 1 },
    { name: 'flapping', faults: 2, kinds: ['cut'], windows: 1, holdDown: true },
    { name: 'faults', faults: 3 },
  ],
};

/** A search that has found so many states and is not at its end stops: at some 100 bytes a state and a kilobyte for each that waits. */
const MOST_STATES = 20_000_000;

export function configOf(policy: ModelPolicy, shape: Shape): ModelConfig {
  const { name, faults, kinds = faultKinds, orders = 0, windows = 0, terms = 0, delay = 0, reasons = false, holdDown = false } = shape;
  const flap = holdDown ? { breaks: 2, withinMs: 4, firstMs: 2, capMs: 4 } : modelTimings.flap;
  const timings = { ...modelTimings, flap };
  assert(leaseIsSafe(timings), 'the model must keep the bound that it is to check');
  return {
    name: `${policy}: ${name}`,
    terms: terms > 0 ? [termsOf[policy], ...others(policy)] : [termsOf[policy]],
    timings,
    budget: { faults, orders, windows, terms },
    kinds,
    delay,
    linkDead: 1,
    loading: 2,
    reasons,
    holdDown,
  };
}

/** What the protocol consists of: each must be reached by some search of the policies that allow it. */
const everywhere = [
  'edge booting → connecting', 'edge connecting → claiming', 'edge claiming → holding', 'edge claiming → releasing',
  'edge releasing → standby', 'edge standby → claiming',
  'master loading → standby', 'master loading → suspect', 'master standby → suspect', 'master suspect → standby',
  'phase granted', 'phase confirmed', 'verdict edge-kept-devices', 'verdict master-loading', 'verdict no-takeover-happened',
  'message hello', 'message control.granted', 'message control.claimed',
];
const takeovers = [
  'edge connecting → standby', 'edge holding → releasing',
  'master suspect → taking-over', 'master taking-over → holding', 'master taking-over → releasing', 'master holding → releasing',
  'master releasing → suspect', 'master releasing → standby',
  'phase deferred', 'phase waits', 'phase rehello', 'phase ordered',
  'verdict window-open', 'verdict operator-handback', 'verdict master-holds',
  'message control.release', 'message control.released', 'message control.accepted', 'message control.renegotiate',
];
const required: Record<ModelPolicy, readonly string[]> = {
  available: [...everywhere, ...takeovers, 'edge says master-unreachable'],
  exclusive: [...everywhere, ...takeovers, 'edge says lease-ended', 'message control.renew', 'message control.renewed', 'edge says no-claim-without-lease'],
  'no-failover': [...everywhere, 'edge says master-unreachable'],
};

/** Searches everything that can happen to one location, as far as each budget goes. */
export function runModel(options: ModelOptions): ModelReport {
  const { policy, size, onProgress, signal } = options;
  const searches: SearchReport[] = [];
  const reached = new Set<string>();
  for (const shape of shapes[size]) {
    const config = configOf(policy, shape);
    const report = search(config, {
      ...(signal === undefined ? {} : { signal }),
      maxStates: MOST_STATES,
      verifyKeys: size === 'small',
      onProgress: (states, depth) => onProgress?.({ config: config.name, states, depth }),
    });
    searches.push(report);
    for (const name of report.coverage.reached()) reached.add(name);
    if (report.problem !== null || signal?.aborted) break;
  }
  const ok = searches.every(({ closed }) => closed);
  const missing = ok ? required[policy].filter((name) => !reached.has(name)) : [];
  return { policy, size, searches, missing, ok: ok && missing.length === 0 };
}

/** Why a run is not good. */
function verdictOf({ searches, missing }: ModelReport): string {
  const broken = searches.some(({ problem }) => problem !== null) || missing.length > 0;
  return broken ? 'FAILED' : 'no invariant is broken as far as it went, NOT CLOSED';
}

export function formatModelReport(report: ModelReport): string {
  const lines = report.searches.map(({ config, states, layers, transitions, depth, closed, settlesWithin }) => {
    const stopped = states > MOST_STATES ? `not closed: it stops at ${MOST_STATES} states` : 'not closed';
    const end = closed ? `closed, settles within ${settlesWithin} steps` : stopped;
    const byFaults = layers.length > 1 ? ` (${layers.join(' + ')}, by faults)` : '';
    return `${config}: ${states} states${byFaults}, ${transitions} transitions, depth ${depth}: ${end}`;
  });
  for (const { problem, trace } of report.searches) if (problem !== null) lines.push('', problem, ...trace);
  if (report.missing.length > 0) lines.push('', `never reached: ${report.missing.join(', ')}`);
  const states = report.searches.reduce((sum, search) => sum + search.states, 0);
  lines.push(`${report.policy}, ${report.size}: ${states} states, ${report.ok ? 'no invariant is broken' : verdictOf(report)}`);
  return lines.join('\n');
}
