import { WebSocket } from 'ws';
import { credentialHeaders, type SocketTransport } from './transport.ts';

/** WebSockets of Node. `ca` is the PEM of the only authority that is trusted; without it, those of Node. */
export function createNodeSockets(ca: string | undefined): SocketTransport {
  return {
    open: ({ origin, path, credential }, listener) => {
      const address = `${origin.replace(/^http/, 'ws')}${path}`;
      const socket = new WebSocket(address, { headers: credentialHeaders(credential), perMessageDeflate: false, ...(ca === undefined ? {} : { ca }) });
      let problem = '';
      socket.on('open', () => listener.opened());
      socket.on('message', (data: Buffer) => listener.message(data.toString()));
      socket.on('error', (error) => (problem = error.message));
      socket.on('close', (code, reason) => listener.closed(problem === '' ? `closed: ${reason.toString() || code}` : problem));
      return {
        send: (text) => {
          if (socket.readyState !== WebSocket.OPEN) return false;
          socket.send(text);
          return true;
        },
        // Not `close`: it would wait for the answer of a server that may be gone. All that was sent is on its way.
        close: () => socket.terminate(),
      };
    },
  };
}
