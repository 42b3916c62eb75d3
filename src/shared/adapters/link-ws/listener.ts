import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type WebSocket, WebSocketServer } from 'ws';
import { ScramServer } from '../../link/scram.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Random } from '../../ports/random.ts';
import type { Connection, LinkListener } from '../../ports/transport.ts';
import type { LinkAuthority } from '../../runtime/link-authority.ts';
import { BINDING, nextProof, scramOf, sendProof } from './proof-channel.ts';
import { Refusals } from './refusals.ts';
import { SocketConnection, webSocketOptions } from './socket-connection.ts';

export interface LinkListenerOptions {
  host: string;
  port: number;
  masterId: string;
  /** PEM: the server's certificate, then its CA. */
  chain: string;
  key: string;
  authority: LinkAuthority;
  clock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
}

/** TLS 1.3 WebSockets of edges that proved themselves on this very connection. */
export function createLinkListener(options: LinkListenerOptions): LinkListener {
  return new WebSocketListener(options);
}

class WebSocketListener implements LinkListener {
  readonly #options: LinkListenerOptions;
  readonly #https: Server;
  readonly #webSockets: WebSocketServer;
  readonly #refusals: Refusals;
  readonly #live = new Map<string, Set<SocketConnection>>();

  constructor(options: LinkListenerOptions) {
    this.#options = options;
    this.#refusals = new Refusals(options.clock);
    this.#https = createServer({
      cert: options.chain,
      key: options.key,
      minVersion: 'TLSv1.3',
      headersTimeout: limits.proofMs,
      requestTimeout: limits.proofMs,
      handshakeTimeout: limits.proofMs,
    });
    // Anything but an upgrade to the link is none of our business.
    this.#https.on('request', (_, response) => response.writeHead(404, { connection: 'close' }).end());
    this.#https.on('tlsClientError', () => this.#options.metrics.add('holdfast_link_refused_total', { reason: 'tls' }));
    this.#webSockets = new WebSocketServer({ server: this.#https, path: '/link', ...webSocketOptions });
  }

  async start(onConnection: (connection: Connection) => void): Promise<{ address: string }> {
    this.#webSockets.on('connection', (socket, request) => {
      void this.#admit(socket, request.socket as TLSSocket, onConnection);
    });
    // Errors of the server itself reach the caller; the WebSocket server repeats them as its own.
    this.#webSockets.on('error', () => undefined);
    const listening = once(this.#https, 'listening');
    this.#https.listen(this.#options.port, this.#options.host);
    await listening;
    const { address, port } = this.#https.address() as AddressInfo;
    return { address: address.includes(':') ? `[${address}]:${port}` : `${address}:${port}` };
  }

  closePeer(peerId: string, reason: string): void {
    for (const connection of this.#live.get(peerId) ?? []) connection.close(reason);
  }

  async close(): Promise<void> {
    const closed = once(this.#https, 'close');
    this.#https.close();
    for (const socket of this.#webSockets.clients) socket.terminate();
    this.#https.closeAllConnections();
    await closed;
  }

  async #admit(socket: WebSocket, tls: TLSSocket, onConnection: (connection: Connection) => void): Promise<void> {
    const { clock } = this.#options;
    const remote = tls.remoteAddress ?? 'unknown';
    const deadline = new AbortController();
    const timer = clock.after(limits.proofMs, () => deadline.abort());
    socket.on('error', () => undefined);
    try {
      const edge = await this.#prove(socket, tls, remote, deadline.signal);
      if (edge === null) {
        // Enrolled: the edge comes back with its own secret.
        socket.close(1000, 'enrolled');
        return;
      }
      const connection = new SocketConnection(socket, tls, { peerId: edge, remote: `${remote}:${tls.remotePort ?? 0}` });
      this.#remember(edge, connection, socket);
      onConnection(connection);
    } catch (error) {
      this.#refuse(socket, remote, error);
    } finally {
      timer.cancel();
    }
  }

  /** The id of the edge that proved its secret; null when it enrolled. Throws LINK_REFUSED. */
  async #prove(socket: WebSocket, tls: TLSSocket, remote: string, signal: AbortSignal): Promise<string | null> {
    const { authority, masterId, random } = this.#options;
    if (this.#refusals.isBlocked(remote)) throw new HoldfastError('LINK_REFUSED', { reason: 'rate-limited' });
    const binding = tls.exportKeyingMaterial(BINDING.bytes, BINDING.label, Buffer.alloc(0));
    const scram = new ScramServer({ nonce: random.hex(18), binding });
    const user = scram.user(scramOf(await nextProof(socket, signal)));
    const claimant = await authority.claimant(user);
    const { edge, purpose } = claimant;
    if (this.#refusals.isBlocked(edge)) throw new HoldfastError('LINK_REFUSED', { reason: 'rate-limited' });
    sendProof(socket, { proof: scram.first(claimant.verifier) });
    const clientFinal = scramOf(await nextProof(socket, signal));
    let proof: string;
    try {
      proof = scram.final(clientFinal);
      // Cannot happen: nobody knows the secret of a fake verifier.
      if (claimant.refusal !== null) throw new HoldfastError('LINK_REFUSED', { reason: claimant.refusal });
    } catch (error) {
      if (this.#refusals.note(edge)) this.#options.log.warn('proof-failed', { edge, purpose, remote, reason: claimant.refusal ?? reasonOf(error) });
      throw claimant.refusal === null ? error : new HoldfastError('LINK_REFUSED', { reason: claimant.refusal });
    }
    this.#refusals.clear(edge);
    this.#refusals.clear(remote);
    if (purpose === 'link') {
      await authority.used(edge, claimant.secretId);
      sendProof(socket, { proof, master: masterId });
      return edge;
    }
    sendProof(socket, { proof, master: masterId });
    const frame = await nextProof(socket, signal);
    if (!('offer' in frame)) throw new HoldfastError('LINK_REFUSED', { reason: 'malformed-proof' });
    await authority.enrol(edge, claimant.verifier, frame.offer);
    sendProof(socket, { enrolled: true });
    return null;
  }

  #refuse(socket: WebSocket, remote: string, error: unknown): void {
    const reason = reasonOf(error);
    this.#options.metrics.add('holdfast_link_refused_total', { reason });
    if (this.#refusals.note(remote)) this.#options.log.warn('link-refused', { remote, reason });
    // The remote side learns only that it was refused: an unknown edge looks like a wrong secret.
    sendProof(socket, { refused: true });
    socket.close(1008, 'refused');
    this.#options.clock.after(limits.heartbeatMs, () => socket.terminate());
  }

  #remember(edge: string, connection: SocketConnection, socket: WebSocket): void {
    const connections = this.#live.get(edge) ?? new Set();
    this.#live.set(edge, connections.add(connection));
    socket.once('close', () => {
      connections.delete(connection);
      if (connections.size === 0) this.#live.delete(edge);
    });
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof HoldfastError && typeof error.facts['reason'] === 'string') return error.facts['reason'];
  return 'internal';
}
