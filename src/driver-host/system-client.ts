import type { SystemPort } from '../driver-sdk/system.ts';
import type { Json } from '../shared/foundation/json.ts';
import { NumberedTable } from '../shared/foundation/numbered-table.ts';
import { HoldfastError, nestedError } from '../shared/model/errors.ts';
import type { SystemRequest } from '../shared/ports/device-link.ts';
import type { FromHost, ToHost } from '../shared/runtime/driver-hosts/messages.ts';
import type { Tenure } from './tenure.ts';

type FromNode = Extract<ToHost, { t: 'system.answer' | 'system.error' | 'system.change' }>;
type Asked = Extract<FromHost, { t: 'system' }>['request'];

/** What modules of this host ask of their systems: the node answers. The node's end is this host's end too. */
export class SystemClient {
  readonly #send: (message: FromHost) => void;
  readonly #waiting = new NumberedTable<(message: FromNode) => void>();

  constructor(send: (message: FromHost) => void) {
    this.#send = send;
  }

  portOf(tenure: Tenure, module: string): SystemPort {
    const open = (request: Asked, receive: (message: FromNode) => void): number => {
      const { location, epoch } = tenure;
      const id = this.#waiting.add(receive);
      try {
        this.#send({ t: 'system', id, location, module, epoch, request });
      } catch (error) {
        // What a driver asks with may be nothing that JSON can say.
        this.#waiting.take(id);
        throw error;
      }
      return id;
    };
    const end = (id: number): void => {
      if (this.#waiting.take(id) !== undefined) this.#send({ t: 'system.end', id });
    };
    return {
      ask: (request, signal) => this.#ask(request, signal, { open, end }),
      watch: (target, listener) => {
        const id = open({ kind: 'watch', ...target }, (message) => {
          if (message.t === 'system.change') listener(message.value);
        });
        return () => end(id);
      },
    };
  }

  receive(message: FromNode): void {
    const receive = this.#waiting.get(message.id);
    if (message.t !== 'system.change') this.#waiting.take(message.id);
    receive?.(message);
  }

  #ask(
    request: SystemRequest,
    signal: AbortSignal,
    { open, end }: { open(request: Asked, receive: (message: FromNode) => void): number; end(id: number): void },
  ): Promise<Json> {
    return new Promise((resolve, reject) => {
      const gaveUp = (): void => {
        end(id);
        reject(signal.reason instanceof HoldfastError ? signal.reason : new HoldfastError('CANCELLED', { fate: 'unknown' }));
      };
      const id = open(request, (message) => {
        signal.removeEventListener('abort', gaveUp);
        if (message.t === 'system.error') reject(nestedError(message.error));
        else resolve(message.value);
      });
      signal.addEventListener('abort', gaveUp, { once: true });
    });
  }
}
