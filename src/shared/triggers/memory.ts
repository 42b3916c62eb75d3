import { z } from 'zod';
import { isOlder, sameEpoch } from '../control/epoch.ts';
import { type Epoch, epochSchema } from '../model/control.ts';
import { instanceIdSchema } from '../model/trigger.ts';
import { limits } from '../model/limits.ts';

/** One firing. Its occurrence has the same name on both sides: `time-1735700000`, `rise-17`, `call-<request id>`. */
export interface Firing {
  occurrence: string;
  epoch: Epoch;
  /** Unix milliseconds of the clock of this node. */
  wallMs: number;
}

/**
 * What whoever drives the location must know of a trigger in a system, so that nothing fires twice: stored by the node,
 * handed over with control, and told to the other side at each change.
 */
export interface TriggerMemory {
  instance: string;
  /** Under which this was last changed, and how often in all: of two memories of one trigger, the later one is known by both. */
  epoch: Epoch;
  revision: number;
  /** Times up to here have been dealt with. Unix milliseconds. */
  timesUntilMs: number;
  /** Did the comparisons hold when somebody last looked? */
  met: boolean;
  /** How often they began to hold. */
  rises: number;
  count: number;
  /** Newest first. */
  firings: readonly Firing[];
}

const count = z.int().min(0);
const occurrence = z.string().max(150);
const fields = { instance: instanceIdSchema, epoch: epochSchema, revision: count, timesUntilMs: count, met: z.boolean(), rises: count, count };

export const memorySchema: z.ZodType<TriggerMemory> = z.strictObject({
  ...fields,
  firings: z.array(z.strictObject({ occurrence, epoch: epochSchema, wallMs: z.number() })).max(limits.triggerFirings),
});

/** On its way to the other side: when something fired is an age, because no clock of another machine is compared. */
export const toldMemorySchema = z.strictObject({
  ...fields,
  firings: z.array(z.strictObject({ occurrence, epoch: epochSchema, agoMs: z.number().min(0) })).max(limits.triggerFirings),
});
export type ToldMemory = z.output<typeof toldMemorySchema>;

export const toTold = ({ firings, ...rest }: TriggerMemory, wallMs: number): ToldMemory => ({
  ...rest,
  firings: firings.map(({ wallMs: atMs, ...firing }) => ({ ...firing, agoMs: Math.max(0, wallMs - atMs) })),
});

export const fromTold = ({ firings, ...rest }: ToldMemory, wallMs: number): TriggerMemory => ({
  ...rest,
  firings: firings.map(({ agoMs, ...firing }) => ({ ...firing, wallMs: wallMs - agoMs })),
});

/** One occurrence that fired under two epochs: once on each side. */
export interface Double {
  occurrence: string;
  epochs: [own: Epoch, told: Epoch];
}

const isLater = (a: TriggerMemory, b: TriggerMemory): boolean => (sameEpoch(a.epoch, b.epoch) ? a.revision > b.revision : isOlder(b.epoch, a.epoch));

/** Both memories in one, and the doubles that only now come to light. What the other side tells again changes nothing. */
export function merge(own: TriggerMemory | null, told: TriggerMemory): { memory: TriggerMemory; doubles: Double[] } {
  if (own === null) return { memory: told, doubles: [] };
  const same = (a: Firing, b: Firing): boolean => a.occurrence === b.occurrence && sameEpoch(a.epoch, b.epoch);
  const fresh = told.firings.filter((firing) => !own.firings.some((known) => same(known, firing)));
  const firings = [...fresh, ...own.firings].sort((a, b) => b.wallMs - a.wallMs).slice(0, limits.triggerFirings);
  const memory = {
    ...(isLater(told, own) ? told : own),
    timesUntilMs: Math.max(own.timesUntilMs, told.timesUntilMs),
    rises: Math.max(own.rises, told.rises),
    count: Math.max(own.count, told.count),
    firings,
  };
  const doubles = fresh.flatMap((firing): Double[] => {
    const twin = own.firings.find(({ occurrence }) => occurrence === firing.occurrence);
    return twin === undefined || !firings.includes(firing) ? [] : [{ occurrence: firing.occurrence, epochs: [twin.epoch, firing.epoch] }];
  });
  return { memory, doubles };
}
