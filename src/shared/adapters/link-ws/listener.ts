import { once } from 'node:events';
import { IncomingMessage } from 'node:http';
import { createServer as createHttps, type Server as HttpsServer } from 'node:https';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type WebSocket, WebSocketServer } from 'ws';
import { AssertionError } from '../../foundation/assert.ts';
import { readNoFurther } from '../../foundation/read-no-further.ts';
import { ScramServer } from '../../link/scram.ts';
import { formatAddress } from '../../model/config.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Random } from '../../ports/random.ts';
import type { Connection, LinkListener } from '../../ports/transport.ts';
import type { LinkAuthority } from '../../runtime/peer/link-authority.ts';
import { type Arrival, Arrivals } from './arrivals.ts';
import { ProofChannel } from './proof-channel.ts';
import { Refusals } from '../../runtime/refusals.ts';
import { PROCESS_HEADER, SocketConnection, webSocketOptions } from './socket-connection.ts';

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

/** What is known of a socket that proves itself, for the limits and the log. */
interface Attempt {
  remote: string;
  /** As it calls itself; null: it has not said. */
  edge: string | null;
  /** There is such an edge. */
  known: boolean;
  /** What its failure counts for. */
  keys: string[];
}

interface Proved {
  edge: string;
  secretId: string;
  /** Frames of the link that came with the proof. */
  early: (string | null)[];
}

/** TLS 1.3 WebSockets of edges that proved themselves on this very connection. */
export function createLinkListener(options: LinkListenerOptions): LinkListener {
  return new WebSocketListener(options);
}

class WebSocketListener implements LinkListener {
  readonly #options: LinkListenerOptions;
  readonly #server: Server;
  readonly #https: HttpsServer;
  readonly #webSockets: WebSocketServer;
  readonly #arrivals: Arrivals;
  readonly #refusals: Refusals;
  readonly #live = new Map<string, Set<SocketConnection>>();
  /** Where each edge last proved itself. */
  readonly #homes = new Map<string, string>();

  constructor(options: LinkListenerOptions) {
    this.#options = options;
    this.#refusals = new Refusals(options.clock);
    this.#arrivals = new Arrivals(options.clock, (remote) => this.#note(stranger(remote), 'proof-timeout'));
    this.#https = createHttps({ cert: options.chain, key: options.key, minVersion: 'TLSv1.3', IncomingMessage: oneRequest() });
    // Anything but an upgrade to the link is none of our business.
    this.#https.on('request', (_, response) => response.writeHead(404, { connection: 'close' }).end());
    this.#https.on('tlsClientError', () => this.#options.metrics.add('holdfast_link_refused_total', { reason: 'tls' }));
    this.#webSockets = new WebSocketServer({ server: this.#https, path: '/link', ...webSocketOptions });
    this.#server = createServer({ noDelay: true }, (socket) => this.#arrive(socket));
    // Why it cannot listen reaches the caller. A socket that cannot be accepted later costs itself, not the process.
    this.#server.on('error', nothing);
  }

  async start(onConnection: (connection: Connection) => void): Promise<{ address: string }> {
    const { host, port } = this.#options;
    this.#webSockets.on('connection', (socket, request) => {
      // The server is one of HTTPS: its sockets are TLS sockets.
      void this.#admit(socket, { tls: request.socket as TLSSocket, process: processOf(request) }, onConnection);
    });
    const listening = once(this.#server, 'listening');
    this.#server.listen(port, host);
    try {
      await listening;
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      throw new HoldfastError('CONFIG_INVALID', { variable: 'HOLDFAST_LINK', problem }, { cause: error });
    }
    // A server that listens on a port has an address of this form.
    const { address, port: actual } = this.#server.address() as AddressInfo;
    return { address: formatAddress({ host: address, port: actual }) };
  }

  closePeer(peerId: string, reason: string): void {
    for (const connection of this.#live.get(peerId) ?? []) connection.close(reason);
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#arrivals.destroyAll();
    for (const peer of this.#live.keys()) this.closePeer(peer, 'shutting-down');
    await closed;
  }

  /**
   * TLS begins when the first bytes are here: Node makes its buffer for what comes as large as what it is first handed, at least 1 KiB,
   * and adds 16 when that is full; when it reads from the socket itself, it takes 64 for as long as the socket lives.
   */
  #arrive(socket: Socket): void {
    socket.on('error', nothing);
    this.#arrivals.add(socket);
    socket.once('readable', () => {
      if (socket.readableLength > 0) this.#https.emit('connection', socket);
      else socket.destroy();
    });
  }

  async #admit(socket: WebSocket, { tls, process }: { tls: TLSSocket; process: string }, onConnection: (connection: Connection) => void): Promise<void> {
    socket.on('error', nothing);
    const arrival = this.#arrivals.of(tls);
    // Too late, or gone already.
    if (arrival === null) return socket.terminate();
    arrival.proving = true;
    const remote = tls.remoteAddress ?? 'unknown';
    const attempt = stranger(remote);
    const channel = new ProofChannel(socket, tls, arrival.signal);
    const proved = await this.#prove(channel, attempt, arrival).catch((error: unknown) => {
      this.#refuse(channel, socket, { attempt, error });
      return null;
    });
    if (proved === null) return;
    const { edge, secretId, early } = proved;
    const identity = { peerId: edge, peerProcess: process, remote: `${remote}:${tls.remotePort ?? 0}`, early, dialled: false };
    const connection = new SocketConnection(socket, tls, { ...identity, clock: this.#options.clock });
    this.#remember(edge, connection, socket);
    this.#homes.set(edge, remote);
    // A revocation during the proof found no live link to close.
    if (this.#options.authority.accepts(edge, secretId)) onConnection(connection);
    else connection.close('revoked');
  }

  /** The edge that proved its secret; null when it enrolled and will come back with that. Throws LINK_REFUSED. */
  async #prove(channel: ProofChannel, attempt: Attempt, arrival: Arrival): Promise<Proved | null> {
    const { authority, masterId, random } = this.#options;
    const scram = new ScramServer({ nonce: random.hex(18), binding: channel.binding() });
    const user = scram.user(await channel.scram());
    const claimant = await authority.claimant(user);
    const { edge, purpose, secretId, refusal } = claimant;
    Object.assign(attempt, { edge, known: refusal !== 'unknown-edge', keys: this.#limitsOf(edge, attempt.remote) } satisfies Partial<Attempt>);
    if (attempt.keys.some((key) => this.#refusals.count(key) >= maxFailures(key))) throw refuse('rate-limited');

    channel.send({ proof: scram.first(claimant.verifier) });
    const clientFinal = await channel.scram();
    let proof: string;
    try {
      proof = scram.final(clientFinal);
    } catch (error) {
      throw refusal === null ? error : refuse(refusal);
    }
    // Cannot happen: nobody knows the secret of a fake verifier.
    if (refusal !== null) throw refuse(refusal);
    for (const key of attempt.keys) if (key !== addressKey(attempt.remote)) this.#refusals.clear(key);

    if (purpose === 'link') {
      await authority.used(edge, secretId);
      arrival.settle();
      channel.send({ proof, master: masterId });
      return { edge, secretId, early: channel.release() };
    }
    channel.send({ proof, master: masterId });
    const frame = await channel.next();
    if (!('offer' in frame)) throw refuse('malformed-proof');
    await authority.enrol(edge, claimant.verifier, frame.offer);
    channel.send({ enrolled: true });
    channel.end(1000, 'enrolled');
    return null;
  }

  /**
   * An edge at the address where it last proved itself has an allowance of its own: nobody elsewhere who knows its name,
   * and no neighbour behind the same router with a wrong secret, can use it up and so keep the edge away.
   */
  #limitsOf(edge: string, remote: string): string[] {
    return this.#homes.get(edge) === remote ? [`home ${edge}`] : [`edge ${edge}`, addressKey(remote)];
  }

  #refuse(channel: ProofChannel, socket: WebSocket, { attempt, error }: { attempt: Attempt; error: unknown }): void {
    // A broken invariant of ours is no refusal: nothing may go on from there.
    if (error instanceof AssertionError) throw error;
    const gone = socket.readyState !== socket.OPEN;
    if (!(error instanceof HoldfastError) && !gone) this.#options.log.error('proof-error', { remote: attempt.remote, error });
    this.#note(attempt, gone && !(error instanceof HoldfastError) ? 'closed-during-proof' : reasonOf(error));
    // The remote side learns only that it was refused: an unknown edge looks like a wrong secret.
    channel.send({ refused: true });
    channel.end(1008, 'refused');
  }

  /** Counts a refusal; the first of its kind in a while is logged. */
  #note({ remote, edge, known, keys }: Attempt, reason: string): void {
    this.#options.metrics.add('holdfast_link_refused_total', { reason });
    if (guesses.has(reason)) for (const key of keys) this.#refusals.note(key);
    // By address unless the edge exists: names can be made up without end.
    if (this.#refusals.note(`log ${known ? edge : remote} ${reason}`)) this.#options.log.warn('link-refused', { edge, remote, reason });
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

/** Of no method: a listener that lives as long as its socket would keep alive all that the method knew of the proof. */
const nothing = (): void => undefined;
/** Of each connection: an edge has one for as long as it has the link, and who has more is cut off. */
function oneRequest(): typeof IncomingMessage {
  const asked = new WeakSet<Socket>();
  return class extends IncomingMessage {
    constructor(socket: Socket) {
      super(socket);
      if (asked.has(socket)) readNoFurther(this);
      asked.add(socket);
    }
  };
}
/** As it calls itself; it proves on this connection whose it is. */
function processOf({ headers }: IncomingMessage): string {
  const named = headers[PROCESS_HEADER];
  return typeof named === 'string' && /^[\w-]{1,64}$/.test(named) ? named : '';
}
const refuse = (reason: string): HoldfastError => new HoldfastError('LINK_REFUSED', { reason });
const stranger = (remote: string): Attempt => ({ remote, edge: null, known: false, keys: [addressKey(remote)] });
const addressKey = (remote: string): string => `address ${remote}`;
/**
 * What somebody who tries out names and secrets causes, and what feeds the limits. A cut, a slow network or a fault of ours does not:
 * an edge on a bad line must get in as soon as the line is good. Nor does what a limit refused: limits would never end.
 */
const guesses = new Set([
  'malformed-proof',
  'binding-required',
  'wrong-nonce',
  'wrong-secret',
  'wrong-binding',
  'unknown-edge',
  'unknown-secret',
  'token-spent',
  'token-expired',
]);
/** Several edges may share an address (a router, a proxy), and one of them may be set up wrongly. */
const maxFailures = (key: string): number => (key.startsWith('address ') ? limits.proofFailuresPerAddress : limits.proofFailures);

/** A word from a small set: it becomes a label. */
function reasonOf(error: unknown): string {
  if (!(error instanceof HoldfastError)) return 'internal';
  const { reason } = error.facts;
  return typeof reason === 'string' ? reason : error.code.toLowerCase().replaceAll('_', '-');
}
