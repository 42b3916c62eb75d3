import { z } from 'zod';

/** Control epoch of a location: compared by generation first, then number. The edge's numbers are even, the master's odd. */
export interface Epoch {
  generation: number;
  number: number;
}
/** No location gets that far by itself. A peer that says so must not bring the next epoch to where counting ends. */
export const HIGHEST_EPOCH = 2 ** 48;
const epochPart = z.int().min(0).max(HIGHEST_EPOCH);
export const epochSchema: z.ZodType<Epoch> = z.strictObject({ generation: epochPart, number: epochPart });

/**
 * When a status value was reported: epoch (generation, number) of the holder, and the count of its reports. It orders
 * all reports of one variable, whichever server tells them.
 */
export type Revision = readonly [generation: number, number: number, report: number];
const count = z.int().min(0);
export const revisionSchema = z.tuple([count, count, count]).readonly();

/** Negative when `a` is older than `b`, 0 when equal. */
export function compareRevisions(a: Revision, b: Revision): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}

export type Party = 'edge' | 'master';
export type Holder = Party | 'none';
export type Policy = 'available' | 'exclusive';

/** What of the location document the negotiation obeys. It changes only when both sides have stored it. */
export interface Terms {
  failover: boolean;
  policy: Policy;
  timeoutMs: number;
  paused: boolean;
}
export const termsSchema: z.ZodType<Terms> = z.strictObject({
  failover: z.boolean(),
  policy: z.enum(['available', 'exclusive']),
  timeoutMs: z.int().min(1),
  paused: z.boolean(),
});
