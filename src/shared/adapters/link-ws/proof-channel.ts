import type { TLSSocket } from 'node:tls';
import type { WebSocket } from 'ws';
import { z } from 'zod';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import { newSecretSchema } from '../../runtime/peer/link-authority.ts';

/** The frames of the proof, before a WebSocket becomes a link: small, few, each checked. */
const proofFrameSchema = z.union([
  /** A SCRAM message. */
  z.strictObject({ proof: z.string().max(2_000) }),
  /** The last of the master: its SCRAM message and its id. */
  z.strictObject({ proof: z.string().max(2_000), master: z.string().max(120) }),
  /** The edge's offer of the secret that it made. */
  z.strictObject({ offer: newSecretSchema }),
  z.strictObject({ enrolled: z.literal(true) }),
  z.strictObject({ refused: z.literal(true) }),
]);
export type ProofFrame = z.output<typeof proofFrameSchema>;

const refuse = (reason: string): HoldfastError => new HoldfastError('LINK_REFUSED', { reason });

/**
 * A WebSocket while its two ends prove themselves. It listens from its first to its last moment and keeps what it is not asked for:
 * several frames may arrive in one read, and the first of the link may come right behind the last of the proof.
 */
export class ProofChannel {
  readonly #socket: WebSocket;
  readonly #tls: TLSSocket;
  readonly #signal: AbortSignal;
  readonly #frames: (string | null)[] = [];
  #bytes = 0;
  #failure: HoldfastError | null = null;
  #wake: () => void = () => undefined;

  constructor(socket: WebSocket, tls: TLSSocket, signal: AbortSignal) {
    this.#socket = socket;
    this.#tls = tls;
    this.#signal = signal;
    socket.on('message', this.#message);
    socket.on('close', this.#closed);
    tls.on('data', this.#count);
    signal.addEventListener('abort', this.#timedOut, { once: true });
    if (signal.aborted) this.#timedOut();
  }

  send(frame: ProofFrame): void {
    this.#socket.send(JSON.stringify(frame));
  }

  /** The next frame. Throws LINK_REFUSED: closed, too large, malformed, or out of time. */
  async next(): Promise<ProofFrame> {
    while (this.#frames.length === 0 && this.#failure === null) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const text = this.#frames.shift();
    if (text === undefined) throw this.#failure ?? refuse('closed-during-proof');
    return parseProof(text);
  }

  /** The text of the SCRAM message that must come next. */
  async scram(): Promise<string> {
    const frame = await this.next();
    if ('proof' in frame) return frame.proof;
    throw refuse('refused' in frame ? 'refused-by-peer' : 'malformed-proof');
  }

  /** RFC 9266: 32 bytes that only the two ends of this TLS connection can know. */
  binding(): Buffer {
    return this.#tls.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0));
  }

  /** The proof is over: stops reading, and gives what already came of the link. Throws LINK_REFUSED if it closed meanwhile. */
  release(): (string | null)[] {
    if (this.#failure !== null) throw this.#failure;
    this.#socket.pause();
    this.#detach();
    return this.#frames.splice(0);
  }

  /** There will be no link: closes, and cuts off a peer that does not answer. */
  end(code: number, reason: string): void {
    this.#detach();
    this.#socket.close(code, reason);
  }

  #detach(): void {
    this.#socket.off('message', this.#message);
    this.#socket.off('close', this.#closed);
    this.#tls.off('data', this.#count);
    this.#signal.removeEventListener('abort', this.#timedOut);
  }

  readonly #message = (data: unknown, isBinary: boolean): void => {
    this.#frames.push(textOf(data, isBinary));
    this.#wake();
  };
  readonly #closed = (): void => this.#fail('closed-during-proof');
  readonly #timedOut = (): void => this.#fail('proof-timeout');
  /** A stranger may not make us collect a frame as large as those of a proved peer. */
  readonly #count = (chunk: Buffer): void => {
    this.#bytes += chunk.length;
    if (this.#bytes <= limits.proofBytes) return;
    this.#fail('malformed-proof');
    this.#socket.terminate();
  };

  #fail(reason: string): void {
    this.#failure ??= refuse(reason);
    this.#wake();
  }
}

/** Null: not text. */
export function textOf(data: unknown, isBinary: boolean): string | null {
  return !isBinary && Buffer.isBuffer(data) ? data.toString('utf8') : null;
}

function parseProof(text: string | null): ProofFrame {
  if (text === null || text.length > limits.proofFrameBytes) throw refuse('malformed-proof');
  try {
    return proofFrameSchema.parse(JSON.parse(text));
  } catch {
    throw refuse('malformed-proof');
  }
}
