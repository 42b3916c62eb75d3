import { z } from 'zod';
import type { Json } from '../foundation/json.ts';
import { epochSchema, termsSchema } from '../model/control.ts';
import { limits } from '../model/limits.ts';
import { jsonValueSchema } from '../model/values.ts';
import { type ToldMemory, toldMemorySchema } from '../triggers/memory.ts';

/**
 * What edge and master say to each other about control. Each message carries the number of the negotiation it
 * belongs to (the edge counts its hellos); one of another negotiation is dropped. None is ever resent.
 */

export const edgeStates = ['booting', 'connecting', 'claiming', 'holding', 'releasing', 'standby'] as const;
export type EdgeState = (typeof edgeStates)[number];

export const masterStates = ['loading', 'standby', 'suspect', 'taking-over', 'holding', 'releasing'] as const;
export type MasterState = (typeof masterStates)[number];

const negotiation = z.int().min(0);
const reason = z.string().max(100);

/**
 * What the new holder starts from: last values, hand-over states of the drivers, what triggers have done. Opaque to the
 * negotiation, and of bounded depth: `z.json()` would overflow the stack.
 */
const snapshotSchema = z.strictObject({
  status: z.array(z.strictObject({ module: z.string().max(120), key: z.string().max(limits.nameLength), value: jsonValueSchema })),
  handover: z.record(z.string(), jsonValueSchema),
  /** Absent: of a server that has no triggers. */
  triggers: z.array(toldMemorySchema).default([]),
});
export interface ControlSnapshot {
  status: { module: string; key: string; value: Json }[];
  handover: Record<string, Json>;
  triggers: ToldMemory[];
}

/** A time in which the edge held control, as ages at the moment of sending: no clock of another machine is compared. */
const heldSchema = z.strictObject({ epoch: epochSchema, fromAgoMs: z.number().min(0), untilAgoMs: z.number().min(0) });
export type HeldInterval = z.output<typeof heldSchema>;

export const controlMessageSchemas = {
  /** Edge: here I am, this is the highest epoch I heard of. A claim, not authority. */
  hello: z.strictObject({ t: z.literal('hello'), negotiation, epoch: epochSchema, state: z.enum(edgeStates), held: z.array(heldSchema).max(100) }),
  /** Master: the verdict. For the edge it is not yet the grant. */
  negotiate: z.strictObject({ t: z.literal('negotiate'), negotiation, winner: z.enum(['edge', 'master']), reason, epoch: epochSchema, terms: termsSchema }),
  /** Master: the edge may drive the devices. `leaseMs` under `exclusive`, counted from when the hello was sent. */
  'control.granted': z.strictObject({
    t: z.literal('control.granted'),
    negotiation,
    epoch: epochSchema,
    leaseMs: z.number().nullable(),
    snapshot: snapshotSchema.nullable(),
  }),
  /** Master: the edge must stop driving the devices. */
  'control.release': z.strictObject({ t: z.literal('control.release'), negotiation, epoch: epochSchema, reason }),
  /** Edge: every device socket is closed. */
  'control.released': z.strictObject({ t: z.literal('control.released'), negotiation, epoch: epochSchema, reason, snapshot: snapshotSchema.nullable() }),
  /** Edge: holding, at this epoch. */
  'control.claimed': z.strictObject({ t: z.literal('control.claimed'), negotiation, epoch: epochSchema }),
  /** Edge: the verdict for the master and its terms are stored. */
  'control.accepted': z.strictObject({ t: z.literal('control.accepted'), negotiation, epoch: epochSchema }),
  /** Master: say hello again (a hand-back begins, or the terms changed). */
  'control.renegotiate': z.strictObject({ t: z.literal('control.renegotiate'), negotiation, epoch: epochSchema, reason }),
  /** Edge, every quarter of the lease. */
  'control.renew': z.strictObject({ t: z.literal('control.renew'), negotiation, epoch: epochSchema, renewal: z.int().min(0) }),
  'control.renewed': z.strictObject({ t: z.literal('control.renewed'), negotiation, epoch: epochSchema, renewal: z.int().min(0) }),
} as const;

export type ControlMessageType = keyof typeof controlMessageSchemas;
type Body<T extends ControlMessageType> = { [K in T]: z.output<(typeof controlMessageSchemas)[K]> }[T];
export type ControlMessage = Body<ControlMessageType>;
export type FromEdge = Body<'hello' | 'control.released' | 'control.claimed' | 'control.accepted' | 'control.renew'>;
export type FromMaster = Body<'negotiate' | 'control.granted' | 'control.release' | 'control.renegotiate' | 'control.renewed'>;

const edgeTypes: ReadonlySet<ControlMessageType> = new Set<FromEdge['t']>([
  'hello',
  'control.released',
  'control.claimed',
  'control.accepted',
  'control.renew',
]);

/** Who may say this: each side refuses what only it says itself. */
export const isFromEdge = (message: ControlMessage): message is FromEdge => edgeTypes.has(message.t);
