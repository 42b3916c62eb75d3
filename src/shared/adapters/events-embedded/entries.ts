import { z } from 'zod';
import type { JsonObject } from '../../foundation/json.ts';
import { type EventKind, eventKinds } from '../../model/events.ts';
import type { KeptEvent } from '../../ports/event-log.ts';
import { type RunRow, type RunTuple, SEPARATOR } from './file-kind.ts';

/** Events as rows and back. Apart from the file, whose thread needs no schemas: loading their library takes longer than the rest of its start. */

const bodySchema = z.strictObject({
  wallMs: z.number(),
  event: z.string(),
  location: z.string().nullable(),
  who: z.string().nullable(),
  facts: z.custom<JsonObject>((value) => typeof value === 'object' && value !== null),
});

/** Thousands a second may come: a row for a run costs hardly more than one for an event. */
export function toRuns(events: readonly KeptEvent[]): RunTuple[] {
  const runs: { first: KeptEvent; bodies: string[] }[] = [];
  for (const event of events) {
    const run = runs.at(-1);
    if (run !== undefined && follows(event, run)) run.bodies.push(event.body);
    else runs.push({ first: event, bodies: [event.body] });
  }
  return runs.map(({ first: { kind, epoch, sequence }, bodies }) => [kind, epoch, sequence, bodies.join(SEPARATOR), bodies.length]);
}

const follows = ({ kind, epoch, sequence }: KeptEvent, { first, bodies }: { first: KeptEvent; bodies: string[] }): boolean =>
  kind === first.kind && epoch === first.epoch && sequence === first.sequence + bodies.length;

/** A kind that this version does not know is left where it is. */
export const isKnownKind = (kind: string): kind is EventKind => Object.hasOwn(eventKinds, kind);

/** Throws what zod or JSON throws; rows on disk are checked when the file is opened. */
export function toKept({ epoch, sequence, body }: RunRow, kind: EventKind): KeptEvent[] {
  return body.split(SEPARATOR).map((each, index) => {
    const { location, wallMs } = bodySchema.parse(JSON.parse(each));
    return { kind, epoch, sequence: sequence + index, location, wallMs, body: each };
  });
}
