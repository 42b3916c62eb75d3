import { createClientOver } from './client.ts';
import type { Client, ClientCredentials } from './client.ts';
import { createNodeTransport } from './node-http.ts';
import { createNodeSockets } from './node-socket.ts';
import { openSession, type Session, type SessionOptions } from './session.ts';

/** The client SDK for Node; `browser.ts` is the one for browsers. */
export * from './portable.ts';
export { fileStorage } from './node-storage.ts';

interface Trust {
  /** PEM of the authority that signed the server's certificate. */
  ca?: string;
}
export type ClientOptions = ClientCredentials & Trust;
export type ConnectOptions = SessionOptions & Trust;

/** REST. */
export const createClient = ({ ca, ...credentials }: ClientOptions): Client => createClientOver(createNodeTransport(ca), credentials);

/** REST and live values, at whichever server can serve. Throws INPUT_INVALID. */
export const connect = ({ ca, ...options }: ConnectOptions): Promise<Session> =>
  openSession({ http: createNodeTransport(ca), sockets: createNodeSockets(ca), nowMs: () => Date.now(), draw: () => Math.random() }, options);
