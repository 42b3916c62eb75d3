import net from 'node:net';
import tls from 'node:tls';
import { limits } from '../shared/model/limits.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { ConnectionSettings } from './connection-settings.ts';
import { type Dial, isPermanent, type LineEnd } from './line.ts';

export interface TcpTarget {
  host: string;
  port: number;
  /** null: plain TCP. */
  tls: Pick<ConnectionSettings, 'verifyCertificate' | 'serverName' | 'ca'> | null;
  clock: Clock;
}

/** TCP, or TLS over it. A certificate that is refused gets no byte of a command. */
export function dialTcp({ host, port, tls: secured, clock }: TcpTarget): Dial {
  return (events) => {
    const raw = net.connect({ host, port, noDelay: true, keepAlive: true });
    const socket = secured === null ? raw : secure(raw, host, secured);
    let end: LineEnd = { reason: 'the device closed the connection', permanent: false };
    const drop = (): void => {
      // A socket that is only connecting has nothing to reset.
      if (raw.connecting) raw.destroy();
      else raw.resetAndDestroy();
      socket.destroy();
    };
    const fail = (given: LineEnd): void => {
      end = given;
      drop();
    };
    const late = { reason: 'connecting took too long', permanent: false };
    const deadline = clock.after(limits.deviceConnectMs, () => fail(late));
    socket.on(secured === null ? 'connect' : 'secureConnect', () => {
      deadline.cancel();
      const refusal = secured?.verifyCertificate === true ? certificateRefusal(socket) : null;
      if (refusal === null) events.up();
      else fail({ reason: `its certificate is refused: ${refusal}`, permanent: true });
    });
    socket.on('data', events.received);
    socket.on('drain', events.drained);
    const onError = (error: NodeJS.ErrnoException): void => {
      end = { reason: error.message, permanent: isPermanent(error) };
    };
    socket.on('error', onError);
    if (socket !== raw) {
      raw.on('error', onError);
      socket.on('close', () => raw.destroy());
    }
    raw.on('close', () => {
      deadline.cancel();
      events.ended(end);
    });
    return {
      get writable() {
        return !socket.writableNeedDrain;
      },
      get unsent() {
        return socket.writableLength > 0;
      },
      write: (data) => void socket.write(data),
      drop,
    };
  };
}

function secure(socket: net.Socket, host: string, { serverName, ca }: NonNullable<TcpTarget['tls']>): tls.TLSSocket {
  // Checked by `certificateRefusal`: an error of the library would have to be told from others by its text.
  return tls.connect({ socket, ...tlsNames(host, serverName), ...(ca === null ? {} : { ca }), rejectUnauthorized: false });
}

/** SNI carries names only; an address is still compared with the certificate, as `host`. */
export function tlsNames(host: string, serverName: string | null): { host: string; servername?: string } {
  const name = serverName ?? host;
  return net.isIP(name) === 0 ? { host: name, servername: name } : { host: name };
}

/** null: it is accepted. */
export function certificateRefusal(socket: net.Socket): string | null {
  if (!(socket instanceof tls.TLSSocket) || socket.authorized) return null;
  return String(socket.authorizationError);
}
