import { createBrowserHttp, createBrowserSockets } from './browser-transport.ts';
import { type Client, type ClientCredentials, createClientOver } from './client.ts';
import { openSession, type Session, type SessionOptions } from './session.ts';

/** The client SDK for browsers; `index.ts` is the one for Node. */
export * from './portable.ts';
export { browserStorage } from './browser-transport.ts';

/** REST. */
export const createClient = (credentials: ClientCredentials): Client => createClientOver(createBrowserHttp(), credentials);

/** REST and live values, at whichever server can serve. Throws INPUT_INVALID. */
export const connect = (options: SessionOptions): Promise<Session> =>
  openSession({ http: createBrowserHttp(), sockets: createBrowserSockets(), nowMs: () => Date.now(), draw: () => Math.random() }, options);
