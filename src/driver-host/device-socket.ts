import net from 'node:net';
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import { limits } from '../shared/model/limits.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { ConnectionSettings } from './connection-settings.ts';
import { isPermanent, type LineEnd } from './line.ts';

export interface SocketTarget {
  host: string;
  port: number;
  /** null: plain TCP. */
  tls: Pick<ConnectionSettings, 'verifyCertificate' | 'serverName' | 'ca'> | null;
  clock: Clock;
}

export interface DeviceSocket {
  /** Carries plain text, whatever is below. */
  readonly stream: net.Socket;
  /** Connected, and its certificate accepted. */
  readonly up: boolean;
  readonly unsent: boolean;
  /** Why it ends or has ended, as far as it is known. */
  readonly end: LineEnd;
  /** Ends it with a reset: what the kernel still holds is thrown away. */
  drop(): void;
}

export interface SocketEvents {
  up(): void;
  /** Once, and last. */
  ended(end: LineEnd): void;
}

/** A TCP connection to a device, or TLS over one. A certificate that is refused ends it before `up`. */
export function openDeviceSocket({ host, port, tls: secured, clock }: SocketTarget, events: SocketEvents): DeviceSocket {
  const raw = net.connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: limits.deviceKeepAliveMs });
  const stream = secured === null ? raw : secure(raw, host, secured);
  let up = false;
  let end: LineEnd = { reason: 'the device closed the connection', permanent: false };
  const drop = (): void => {
    // A socket that is only connecting has nothing to reset.
    if (raw.connecting) raw.destroy();
    else raw.resetAndDestroy();
    stream.destroy();
  };
  const fail = (given: LineEnd): void => {
    end = given;
    drop();
  };
  const late = { reason: 'connecting took too long', permanent: false };
  const deadline = clock.after(limits.deviceConnectMs, () => fail(late));
  stream.on(secured === null ? 'connect' : 'secureConnect', () => {
    deadline.cancel();
    const refusal = secured?.verifyCertificate === true ? refusalOf(stream) : null;
    if (refusal !== null) return fail({ reason: `its certificate is refused: ${refusal}`, permanent: true });
    up = true;
    events.up();
  });
  const onError = (error: NodeJS.ErrnoException): void => {
    // TLS complains of the end of what is below it, which is no news.
    if (!raw.readableEnded) end = { reason: error.message, permanent: isPermanent(error) };
  };
  raw.on('error', onError);
  if (stream !== raw) {
    stream.on('error', onError);
    stream.on('close', () => raw.destroy());
  }
  raw.on('close', () => {
    deadline.cancel();
    up = false;
    events.ended(end);
  });
  return {
    stream,
    get up() {
      return up;
    },
    get unsent() {
      return stream.writableLength > 0 || raw.writableLength > 0;
    },
    get end() {
      return end;
    },
    drop,
  };
}

function secure(raw: net.Socket, host: string, { serverName, ca }: NonNullable<SocketTarget['tls']>): tls.TLSSocket {
  const name = serverName ?? host;
  return tls.connect({
    socket: streamOver(raw),
    host: name,
    // SNI carries names only; an address is still looked for in the certificate.
    ...(net.isIP(name) === 0 ? { servername: name } : {}),
    ...(ca === null ? {} : { ca }),
    // Checked by `refusalOf`: an error of the library would have to be told from others by its text.
    rejectUnauthorized: false,
  });
}

/** TLS given the socket itself would take its handle over, and then the process crashes when that is reset. */
function streamOver(raw: net.Socket): Duplex {
  const stream = new Duplex({
    allowHalfOpen: false,
    read: () => void raw.resume(),
    write: (chunk: Buffer, _, done) => void raw.write(chunk, done),
    final: (done) => void raw.end(done),
  });
  raw.on('data', (chunk) => {
    if (!stream.push(chunk)) raw.pause();
  });
  raw.on('end', () => stream.push(null));
  raw.on('close', () => stream.destroy());
  return stream;
}

/** null: it is accepted. */
function refusalOf(socket: net.Socket): string | null {
  if (!(socket instanceof tls.TLSSocket)) return 'there is none';
  return socket.authorized ? null : String(socket.authorizationError);
}
