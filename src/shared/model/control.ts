import { z } from 'zod';

/** Control epoch of a location: compared by generation first, then number. The edge's numbers are even, the master's odd. */
export interface Epoch {
  generation: number;
  number: number;
}
export const epochSchema: z.ZodType<Epoch> = z.strictObject({ generation: z.int().min(0), number: z.int().min(0) });

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
