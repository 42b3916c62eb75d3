import { createClientOver } from './client.ts';
import type { Client, ClientCredentials } from './client.ts';
import { createNodeTransport } from './node-transport.ts';

export type { Answer, CallOptions, Client, ClientCredentials, StreamEvent } from './client.ts';
export type { HttpAnswer, HttpRequest, HttpTransport } from './transport.ts';
export { createClientOver } from './client.ts';
export { routes } from '../shared/client-api/routes.ts';
export type { Route, RouteName } from '../shared/client-api/routes.ts';
export type { DriverView, ModuleView, System, ZoneView } from '../shared/client-api/document-schemas.ts';
export type { EventView } from '../shared/client-api/event-schemas.ts';
export type { History, Location, Order, Plan, RequestInFlight, Role } from '../shared/client-api/schemas.ts';
export { HoldfastError } from '../shared/model/errors.ts';

export interface ClientOptions extends ClientCredentials {
  /** PEM of the authority that signed the server's certificate. */
  ca?: string;
}

/** A client for Node. */
export const createClient = ({ ca, ...credentials }: ClientOptions): Client => createClientOver(createNodeTransport(ca), credentials);
