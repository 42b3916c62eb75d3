import { z } from 'zod';
import type { JsonObject } from '../../foundation/json.ts';
import { type EventKind, eventKinds } from '../../model/events.ts';
import type { KeptEvent } from '../../ports/event-log.ts';
import type { EventRow, EventTuple } from './file-kind.ts';

/** Events as rows and back. Apart from the file, whose thread needs no schemas: loading their library takes longer than the rest of its start. */

const bodySchema = z.strictObject({
  wallMs: z.number(),
  event: z.string(),
  location: z.string().nullable(),
  who: z.string().nullable(),
  facts: z.custom<JsonObject>((value) => typeof value === 'object' && value !== null),
});

export const toTuple = ({ kind, epoch, sequence, body }: KeptEvent): EventTuple => [kind, epoch, sequence, body];

/** A kind that this version does not know is left where it is. */
export const isKnownKind = (kind: string): kind is EventKind => Object.hasOwn(eventKinds, kind);

/** Throws what zod or JSON throws; rows on disk are checked when the file is opened. */
export function toKept({ epoch, sequence, body }: EventRow, kind: EventKind): KeptEvent {
  const { location, wallMs } = bodySchema.parse(JSON.parse(body));
  return { kind, epoch, sequence, location, wallMs, body };
}
