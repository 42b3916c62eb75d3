import type { Duplex } from 'node:stream';
import { type Pace, TurnGatherer, type Urgency } from '../../foundation/turn-gatherer.ts';
import { limits } from '../../model/limits.ts';

export interface JsonLinesHandler {
  message(message: unknown): void;
  /** Buffered bytes are gone. */
  drained(): void;
  /** Once: the other side has gone, or broke the format. */
  ended(reason: string): void;
}

/**
 * One JSON value a line over a byte stream. Messages of one event-loop turn leave together, a lone one at once; `pace`: how
 * often those leave that may wait.
 */
export class JsonLines {
  readonly #stream: Duplex;
  readonly #handler: JsonLinesHandler;
  readonly #turn: TurnGatherer;
  #outgoing: string[] = [];
  #outgoingLength = 0;
  #partial = '';
  #ended = false;

  constructor(stream: Duplex, handler: JsonLinesHandler, pace: Pace | null = null) {
    this.#turn = new TurnGatherer(() => this.flush(), setImmediate, pace);
    this.#stream = stream;
    this.#handler = handler;
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => this.#receive(text));
    stream.on('drain', () => handler.drained());
    stream.on('end', () => this.#end('the pipe ended'));
    stream.on('error', (error) => this.#end(error.message));
    stream.on('close', () => this.#end('the pipe was closed'));
  }

  /** Throws on what JSON cannot say; nothing was sent then. */
  send(message: object, urgency: Urgency = 'now'): void {
    if (this.#ended) return;
    const line = `${JSON.stringify(message)}\n`;
    this.#outgoing.push(line);
    this.#outgoingLength += line.length;
    this.#turn.sent(urgency);
  }

  flush(): void {
    if (this.#ended || this.#outgoing.length === 0) return;
    this.#stream.write(this.#outgoing.join(''));
    this.#outgoing = [];
    this.#outgoingLength = 0;
  }

  bufferedBytes(): number {
    return this.#stream.writableLength + this.#outgoingLength;
  }

  end(): void {
    this.flush();
    this.#stream.end();
  }

  #receive(text: string): void {
    let start = 0;
    for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', start)) {
      const line = this.#partial + text.slice(start, end);
      this.#partial = '';
      start = end + 1;
      if (!this.#deliver(line)) return;
    }
    this.#partial += text.slice(start);
    if (this.#partial.length > limits.maxFrameBytes) this.#end('a message is too long');
  }

  #deliver(line: string): boolean {
    if (this.#ended) return false;
    let message: unknown;
    try {
      message = JSON.parse(line);
    } catch {
      this.#end('a message is not JSON');
      return false;
    }
    this.#handler.message(message);
    return true;
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stream.destroy();
    this.#handler.ended(reason);
  }
}
