import type { Session } from './session.ts';

/** What is used of `@placeos/ts-client`; the application hands it in. */
export interface PublishedClient<Options extends { host: string }> {
  setup(options: Options & { secure: boolean }): Promise<void>;
  /** As the application has set it up. */
  options: Options;
}

/**
 * Keeps `@placeos/ts-client` at the server that serves the session. Its REST calls move at once; its WebSocket, which it
 * does not let anybody close, when the server that it left closes it: until then it is served by proxy there.
 * Returns the way to stop.
 */
export function movePublishedClient<Options extends { host: string }>(
  session: Pick<Session, 'onState'>,
  { setup, options }: PublishedClient<Options>,
): () => void {
  let at = options.host;
  return session.onState(({ origin }) => {
    if (origin === null) return;
    const { host, protocol } = new URL(origin);
    if (host === at) return;
    at = host;
    // It tries by itself until it succeeds.
    setup({ ...options, host, secure: protocol === 'https:' }).catch(() => undefined);
  });
}
