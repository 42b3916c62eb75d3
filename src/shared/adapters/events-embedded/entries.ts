import { z } from 'zod';
import type { JsonObject } from '../../foundation/json.ts';
import { type EventKind, eventKinds } from '../../model/events.ts';
import type { EventEntry } from '../../ports/event-log.ts';
import type { EventRow, EventTuple } from './file-kind.ts';

/** Events as rows and back. Apart from the file, whose thread needs no schemas: loading their library takes longer than the rest of its start. */

const bodySchema = z.strictObject({
  wallMs: z.number(),
  event: z.string(),
  location: z.string().nullable(),
  who: z.string().nullable(),
  facts: z.custom<JsonObject>((value) => typeof value === 'object' && value !== null),
});

export function toTuple({ kind, epoch, sequence, ...body }: EventEntry): EventTuple {
  return [kind, epoch, sequence, JSON.stringify(body)];
}

/** A kind that this version does not know is left where it is. */
export const isKnownKind = (kind: string): kind is EventKind => Object.hasOwn(eventKinds, kind);

/** Throws what zod or JSON throws; rows on disk are checked when the file is opened. */
export const toEntry = ({ epoch, sequence, body }: EventRow, kind: EventKind): EventEntry => ({
  kind,
  epoch,
  sequence,
  ...bodySchema.parse(JSON.parse(body)),
});
