import { z } from 'zod';
import { type EventKind, eventKinds, kindNames } from '../model/events.ts';
import { idSchema } from '../model/ids.ts';
import { limits } from '../model/limits.ts';
import { jsonValueSchema } from './parse.ts';

/** Id of an event: the log that it is in, how often that log was opened, and the number in it. Compare both numbers in that order, within one log. */
export const EVENT_ID = /^[0-9a-f]{8}\.\d{1,15}\.\d{1,15}$/;
const SECONDS = /^\d{1,12}(\.\d{1,6})?$/;

const isPoint = (text: string): boolean => EVENT_ID.test(text) || SECONDS.test(text);
const isKind = (text: string): text is EventKind => Object.hasOwn(eventKinds, text);
const kinds = z
  .string()
  .max(200)
  .transform((text, context): EventKind[] => {
    const names = text.split(',').filter((name) => name !== '');
    const found = names.filter(isKind);
    if (found.length < names.length) context.addIssue(`must be some of ${kindNames.join(', ')}, separated by commas`);
    return found;
  });

export const eventsQuery = z.object({
  /** The id of an event, or unix seconds. */
  since: z.string().refine(isPoint, 'must be the id of an event, or a time in unix seconds').optional(),
  kind: kinds.optional(),
  location: idSchema.optional(),
});
export const eventListQuery = eventsQuery.extend({
  limit: z.coerce.number<number | string>().int().min(1).max(limits.listMax).default(limits.listDefault),
});

/** With the facts that the table of events in docs/operations.md names. */
const eventSchema = z
  .object({
    id: z.string(),
    kind: z.string(),
    event: z.string(),
    /** Unix seconds. */
    time: z.number(),
    location: z.string().nullable(),
    who: z.string().nullable(),
  })
  .catchall(jsonValueSchema);
export type EventView = z.output<typeof eventSchema>;

/** `missing`: events of all kinds that are not kept any more; null: the place that was asked for is not in this log. */
const gapSchema = z.object({ kind: z.literal('gap'), missing: z.number().nullable() });
export const streamedEventSchema = z.union([gapSchema, eventSchema]);

export const eventPageSchema = z.object({
  events: z.array(eventSchema),
  next: z.string(),
  missing: z.number().nullable(),
});
