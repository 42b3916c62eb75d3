import { defaultTimings, leaseIsSafe, type ControlTimings } from '../../shared/control/lease.ts';
import { assert } from '../../shared/foundation/assert.ts';
import type { Terms } from '../../shared/model/control.ts';
import { Coverage } from './coverage.ts';
import { search, type SearchReport } from './search.ts';
import type { Budget, ModelConfig } from './world.ts';

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
export const modelTimings: ControlTimings = {
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

const base = { timings: modelTimings, delay: Number(process.env['D'] ?? 1), linkDead: 1, loading: 2, holdDown: false } as const;
const plain = (policy: ModelPolicy, budget: Budget): ModelConfig => ({ ...base, name: policy, terms: [termsOf[policy]], budget });
void [leaseIsSafe, assert, Coverage];
export const _plain = plain;
export const _search = search;
