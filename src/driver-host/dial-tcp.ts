import { openDeviceSocket, type SocketTarget } from './device-socket.ts';
import type { Dial } from './line.ts';

/** TCP, or TLS over it. */
export function dialTcp(target: SocketTarget): Dial {
  return (events) => {
    const socket = openDeviceSocket(target, events);
    const { stream } = socket;
    stream.on('data', events.received);
    stream.on('drain', events.drained);
    return {
      get writable() {
        return !stream.writableNeedDrain;
      },
      get unsent() {
        return socket.unsent;
      },
      write: (data) => void stream.write(data),
      drop: socket.drop,
    };
  };
}
