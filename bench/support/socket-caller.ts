import { once } from 'node:events';
import { WebSocket } from 'ws';

export interface Answer {
  type: string;
  msg?: string;
}

/** A WebSocket that asks in the client protocol. */
export class SocketCaller {
  readonly #socket: WebSocket;
  readonly #pending = new Map<number, { resolve(): void; reject(error: Error): void }>();
  #lastId = 0;

  private constructor(socket: WebSocket, notified: (text: string) => void) {
    this.#socket = socket;
    socket.on('message', (data) => {
      const text = String(data);
      if (text.startsWith('{"type":"notify"')) return notified(text);
      if (text.startsWith('{')) this.#settle(JSON.parse(text) as Answer & { id: number });
    });
    socket.on('close', () => {
      for (const { reject } of this.#pending.values()) reject(new Error('the socket was closed'));
    });
  }

  static async open(url: string, apiKey: string, notified: (text: string) => void = () => undefined): Promise<SocketCaller> {
    const socket = new WebSocket(url, { headers: { 'x-api-key': apiKey }, rejectUnauthorized: false, perMessageDeflate: false });
    const caller = new SocketCaller(socket, notified);
    await once(socket, 'open');
    return caller;
  }

  /** Throws what the server answers with. */
  ask(command: object): Promise<void> {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ id, ...command }));
    });
  }

  #settle({ id, type, msg }: Answer & { id: number }): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (type === 'success') pending?.resolve();
    else pending?.reject(new Error(msg ?? 'refused'));
  }
}
