import { z } from 'zod';
import { API, change, documents, list, read } from './route.ts';
import type { Route } from './route.ts';
import * as schema from './schemas.ts';

const order = {
  ...change,
  role: 'operator',
  adminOf: 'location',
  params: schema.byId,
  body: schema.orderBody,
  response: schema.orderSchema,
} as const;

/** Locations: who holds them, orders, enrolment. Published clients call them edges. */
export const locationRoutes = {
  edgeList: {
    ...list,
    path: `${API}/edges`,
    query: schema.listQuery,
    response: z.array(schema.locationSchema),
    description: 'Locations: who holds each of them, since when and why.',
  },
  edgeShow: { ...read, path: `${API}/edges/:id`, params: schema.byId, response: schema.locationSchema, description: 'One location.' },
  edgeHistory: {
    ...list,
    path: `${API}/edges/:id/history`,
    params: schema.byId,
    query: schema.historyQuery,
    response: z.array(schema.historySchema),
    description: 'Moves of control of a location, newest first.',
  },
  takeover: { ...order, path: `${API}/edges/:id/takeover`, description: 'Order: the master takes control.' },
  handback: { ...order, path: `${API}/edges/:id/handback`, description: 'Order: control returns to the edge.' },
  pause: { ...order, path: `${API}/edges/:id/pause`, description: 'Order: no automatic moves until `resume`; survives restarts.' },
  resume: { ...order, path: `${API}/edges/:id/resume`, description: 'Order: ends a pause.' },
  windowOpen: {
    ...order,
    masterOnly: true,
    path: `${API}/edges/:id/window/open`,
    body: schema.windowOpenBody,
    description: 'Order: opens the restore window now, for `seconds`; forgotten when the master restarts.',
  },
  windowClose: {
    ...order,
    masterOnly: true,
    path: `${API}/edges/:id/window/close`,
    description: 'Order: ends the restore window that is open now.',
  },

  edgeAdd: {
    ...documents,
    path: `${API}/edges`,
    body: schema.edgeAddBody,
    status: 201,
    response: schema.enrolmentSchema,
    description: 'Enrols an edge: answers its enrolment string, once.',
  },
  edgeRotate: {
    ...documents,
    path: `${API}/edges/:id/rotate`,
    params: schema.byId,
    body: schema.edgeRotateBody,
    response: schema.enrolmentSchema,
    description: 'A new secret for an edge; the old one is valid until the new one was used.',
  },
  edgeToken: {
    ...documents,
    method: 'GET',
    path: `${API}/edges/:id/token`,
    params: schema.byId,
    response: schema.edgeTokenSchema,
    description: 'The same as `rotate`, under the name that published clients have for it.',
  },
  edgeRevoke: {
    ...documents,
    path: `${API}/edges/:id/revoke`,
    params: schema.byId,
    response: schema.revokedSchema,
    description: 'Ends the right of an edge to connect and closes its link.',
  },
} as const satisfies Record<string, Route>;
