import dgram from 'node:dgram';
import net from 'node:net';
import { type Dial, isPermanent, type LineEnd } from './line.ts';

/** UDP: up as soon as the socket is open. A device that refuses is noticed when its machine answers with ICMP. */
export function dialUdp({ host, port }: { host: string; port: number }): Dial {
  return (events) => {
    const socket = dgram.createSocket(net.isIPv6(host) ? 'udp6' : 'udp4');
    let end: LineEnd = { reason: 'the socket was closed', permanent: false };
    let open = true;
    const drop = (): void => {
      if (open) socket.close();
      open = false;
    };
    socket.on('connect', events.up);
    socket.on('message', events.received);
    socket.on('error', (error: NodeJS.ErrnoException) => {
      end = { reason: error.message, permanent: isPermanent(error) };
      drop();
    });
    socket.on('close', () => events.ended(end));
    // To a broadcast address nothing may be sent, or even connected, unless that is said before.
    socket.bind(0, () => {
      if (!open) return;
      socket.setBroadcast(true);
      socket.connect(port, host);
    });
    return {
      get writable() {
        return open;
      },
      get unsent() {
        return open && socket.getSendQueueCount() > 0;
      },
      // Each write is one datagram. Errors come as events.
      write: (data) => socket.send(data),
      drop,
    };
  };
}
