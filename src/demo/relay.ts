import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** How a relay treats bytes: `cut` closes and refuses, `silent` swallows them while both ends stay connected. */
export type RelayMode = 'open' | 'cut' | 'silent' | 'silent-up' | 'silent-down';

/**
 * A wire that can be cut: TCP between one edge and its master. `silent` is a half-open line: nobody hears that
 * it is dead. `silent-up` loses what the edge sends, `silent-down` what the master sends.
 */
export class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #target: { host: string; port: number };
  #mode: RelayMode = 'open';

  private constructor(server: Server, target: { host: string; port: number }) {
    this.#server = server;
    this.#target = target;
    server.on('connection', (near) => this.#join(near));
  }

  static async open(target: { host: string; port: number }): Promise<Relay> {
    const server = createServer({ pauseOnConnect: true });
    const relay = new Relay(server, target);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return relay;
  }

  get address(): string {
    const address = this.#server.address();
    return `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  }

  get mode(): RelayMode {
    return this.#mode;
  }

  set(mode: RelayMode): void {
    this.#mode = mode;
    // What was swallowed is gone: a healed line carries new connections, old ones are broken.
    if (mode === 'cut' || mode === 'open') this.#reset();
  }

  async close(): Promise<void> {
    this.#reset();
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }

  #reset(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  #join(near: Socket): void {
    near.on('error', () => undefined);
    if (this.#mode === 'cut') {
      near.resetAndDestroy();
      return;
    }
    const far = connect(this.#target);
    far.on('error', () => undefined);
    this.#pipe(near, far, 'silent-up');
    this.#pipe(far, near, 'silent-down');
    near.resume();
  }

  #pipe(from: Socket, to: Socket, lost: RelayMode): void {
    this.#sockets.add(from);
    from.setNoDelay(true);
    from.on('data', (bytes) => {
      if (this.#mode !== 'silent' && this.#mode !== lost) to.write(bytes);
    });
    from.once('close', () => {
      this.#sockets.delete(from);
      // On a half-open line the other end does not hear of it.
      if (this.#mode === 'open' || this.#mode === 'cut') to.destroy();
    });
  }
}
