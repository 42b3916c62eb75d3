import { EventEmitter } from 'node:events';
import type { DriverContext } from '../../driver-sdk/index.ts';

interface Pace {
  timeoutMs: number;
  retries: number;
}

type Sending = [datagram: Buffer, offset: number, length: number, port: number, host: string, sent: (error: Error | null) => void];

/**
 * What the SNMP library takes for a UDP socket. Each request is a command of the module instead: it passes write gate
 * and journal, is sent again and given up like any other, and its silence counts against `connected`. The library
 * hears of it when its answer is there, so that its own timers never run.
 */
export class Datagrams extends EventEmitter {
  readonly #send: DriverContext<unknown>['send'];
  readonly #pace: Pace;

  constructor(send: DriverContext<unknown>['send'], pace: Pace) {
    super();
    this.#send = send;
    this.#pace = pace;
  }

  send(...[datagram, , , , , sent]: Sending): void {
    const id = requestId(datagram);
    const answered = this.#send(datagram, { ...this.#pace, reply: (message) => (requestId(message) === id ? { value: message } : 'ignore') });
    answered
      .then((answer) => {
        sent(null);
        this.emit('message', answer);
      })
      .catch(sent);
  }

  ref(): void {}

  unref(): void {}

  close(): void {}
}

/** Where it stands in `SEQUENCE { version, community, PDU { id, … } }`; null: that is no SNMP. */
export function requestId(datagram: Buffer): number | null {
  try {
    const message = fieldAt(datagram, 0);
    const version = fieldAt(datagram, message.start);
    const community = fieldAt(datagram, version.end);
    const pdu = fieldAt(datagram, community.end);
    const id = fieldAt(datagram, pdu.start);
    return datagram.readIntBE(id.start, id.end - id.start);
  } catch {
    return null;
  }
}

/** Tag, length, value, as BER writes them: a length over 127 says first how many bytes it has. Throws RangeError at the end. */
function fieldAt(datagram: Buffer, at: number): { start: number; end: number } {
  const short = datagram.readUInt8(at + 1);
  if (short < 0x80) return { start: at + 2, end: at + 2 + short };
  const bytes = short - 0x80;
  const start = at + 2 + bytes;
  return { start, end: start + datagram.readUIntBE(at + 2, bytes) };
}
