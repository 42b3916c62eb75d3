import type { z } from 'zod';
import { EVENT_ID, type eventsQuery } from '../../client-api/event-schemas.ts';
import { eventRoutes as routes } from '../../client-api/event-routes.ts';
import { HoldfastError } from '../../model/errors.ts';
import { eventKinds, kindNames } from '../../model/events.ts';
import type { EventCursor, EventFilter, EventStart } from '../../ports/event-log.ts';
import { type Caller, hasRole } from '../auth/auth.ts';
import { answer, type HandlerDeps, parsed, type RawCall } from './handler.ts';
import type { EventsReply } from '../reply.ts';
import { EventStream, eventViewOf, formatCursor } from '../event-stream.ts';

type Query = z.output<typeof eventsQuery>;

export function eventHandlers({ events }: HandlerDeps) {
  return {
    events: async (raw: RawCall): Promise<EventsReply> => {
      const { query, headers, caller } = parsed(routes.events, raw);
      const last = headers['last-event-id'];
      // A reader that comes back by itself still has the `since` with which it came first.
      const from = typeof last === 'string' && last !== '' ? cursorOf(last) : startOf(query.since);
      const source = new EventStream(events, filterOf(query, caller), from);
      return { kind: 'events', source, stop: () => source.close() };
    },
    eventList: answer(routes.eventList, async ({ query, caller }) => {
      const page = events.read(startOf(query.since), filterOf(query, caller), query.limit);
      const { log } = events.newest;
      return { body: { events: page.events.map((entry) => eventViewOf(entry, log)), next: formatCursor(page.next), missing: page.missing } };
    }),
  };
}

/** What the caller may see of what it asks for; kinds that it names and may not see are refused. */
function filterOf({ kind, location }: Query, caller: Caller): EventFilter {
  const visible = kindNames.filter((name) => hasRole(caller, eventKinds[name].role));
  const refused = kind?.find((name) => !visible.includes(name));
  if (refused !== undefined) throw new HoldfastError('FORBIDDEN', { needs: `the role ${eventKinds[refused].role}` });
  return { kinds: kind ?? visible, location: location ?? null };
}

function startOf(since: string | undefined): EventStart {
  if (since === undefined) return null;
  return EVENT_ID.test(since) ? cursorOf(since) : { wallMs: Number(since) * 1_000 };
}

/** A text that is no id of ours is a place in a log that nobody knows. */
function cursorOf(text: string): EventCursor {
  const [log = '', epoch = '', sequence = ''] = EVENT_ID.test(text) ? text.split('.') : [];
  return { log, epoch: Number(epoch), sequence: Number(sequence) };
}
