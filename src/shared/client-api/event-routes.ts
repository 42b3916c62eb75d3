import { API, list, read } from './route.ts';
import type { Route } from './route.ts';
import * as schema from './event-schemas.ts';

/** What happened at the server that answers. */
export const eventRoutes = {
  events: {
    ...read,
    path: `${API}/events`,
    query: schema.eventsQuery,
    answer: 'events',
    response: schema.streamedEventSchema,
    description: 'Server-sent events: what happens, or what happened after `since` or the header `Last-Event-ID`; `gap` says how many are missing.',
  },
  eventList: {
    ...list,
    path: `${API}/events/log`,
    query: schema.eventListQuery,
    response: schema.eventPageSchema,
    description: 'The same as one page, oldest first: after `since`, or the newest; `next` is where the next page, or the stream, goes on.',
  },
} as const satisfies Record<string, Route>;
