import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { type RawData, WebSocketServer } from 'ws';
import type { ClientSockets } from '../../api/sockets/client-sockets.ts';
import { socketPaths } from '../../client-api/socket.ts';
import type { BodyReply } from '../../api/reply.ts';
import { sayLastWord } from '../../foundation/last-word.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import { ClientConnection, Flusher } from './client-connection.ts';
import { ClientWebSocket } from './client-web-socket.ts';
import { FairReading } from '../../api/fair-reading.ts';
import { TokenBucket } from '../../api/token-bucket.ts';

/** `closeTimeout`: a client that does not answer a close frame, or does not read it, is cut off then. */
const webSocketOptions = {
  maxPayload: limits.clientSocketFrameBytes,
  maxFragments: limits.socketFragments,
  perMessageDeflate: false,
  closeTimeout: limits.clientSocketCloseMs,
} as const;

/** What the protocol says for a client that breaks a rule of ours. */
const POLICY = 1008;

/**
 * Answers the `upgrade` requests of an HTTP server: a WebSocket at the two paths of the client protocol, a refusal anywhere
 * else. `rateAddress`: whom attempts from an address are counted for.
 */
export function serveClientSockets(server: Server, sockets: ClientSockets, deps: { clock: Clock; rateAddress(address: string): string }): void {
  const { clock, rateAddress } = deps;
  const webSockets = new WebSocketServer({ WebSocket: ClientWebSocket, noServer: true, clientTracking: false, ...webSocketOptions });
  const flusher = new Flusher(clock);
  const reading = new FairReading(clock, setImmediate);

  const accept = async (request: IncomingMessage, stream: Duplex, head: Buffer): Promise<void> => {
    const { url = '' } = request;
    const end = url.indexOf('?');
    const path = end === -1 ? url : url.slice(0, end);
    if (!socketPaths.includes(path)) throw new HoldfastError('NOT_FOUND', { kind: 'WebSocket', id: path.slice(0, 200) });
    const address = rateAddress(remoteOf(request));
    const caller = await sockets.admit({ address, headers: request.headers, query: Object.fromEntries(new URLSearchParams(url.slice(path.length))) });
    webSockets.handleUpgrade(request, stream, head, (socket) => {
      const lane = reading.lane(socket);
      const session = sockets.open(caller, new ClientConnection(socket, stream, { flusher, lane }), remoteOf(request));
      socket.onBroken = (code, problem) => session.end(problem, code);
      socket.on('message', (data, isBinary) => lane.take(() => session.receive(isBinary ? null : textOf(data))));
      // Neither goes through the lane: the library answers pings by itself, and a pong is worth no turn.
      const pings = new TokenBucket(clock, { perSecond: limits.socketPingsPerSecond, burst: limits.socketPingBurst });
      const pinged = (): void => {
        if (pings.take()) return;
        socket.stopReading();
        session.end('too-many-pings', POLICY);
      };
      socket.on('ping', pinged);
      socket.on('pong', () => {
        session.heard();
        pinged();
      });
      stream.on('drain', () => session.drained());
      socket.on('close', () => session.closed());
      // `onBroken` was told of it, and `close` follows.
      socket.on('error', () => undefined);
    });
  };

  server.on('upgrade', (request: IncomingMessage, stream: Duplex, head: Buffer) => {
    stream.on('error', () => undefined);
    accept(request, stream, head).catch((error: unknown) => refuse(stream, sockets.refusal(error, remoteOf(request)), clock));
  });
}

const remoteOf = (request: IncomingMessage): string => request.socket.remoteAddress ?? 'unknown';

const textOf = (data: RawData): string => (Array.isArray(data) ? Buffer.concat(data) : data instanceof ArrayBuffer ? Buffer.from(data) : data).toString();

/** An answer in HTTP: there is no WebSocket yet that could carry it. */
function refuse(stream: Duplex, { status, headers, body }: BodyReply, clock: Clock): void {
  const text = JSON.stringify(body);
  const length = String(Buffer.byteLength(text));
  const all = { ...headers, 'content-type': 'application/json; charset=utf-8', 'content-length': length, connection: 'close' };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  sayLastWord(stream, `HTTP/1.1 ${status} Refused\r\n${lines.join('')}\r\n${text}`, (cut) => clock.after(limits.clientSocketCloseMs, cut));
}
