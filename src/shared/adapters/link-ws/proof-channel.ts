import { once } from 'node:events';
import type { WebSocket } from 'ws';
import { z } from 'zod';
import { newSecretSchema } from '../../runtime/link-authority.ts';
import { HoldfastError } from '../../model/errors.ts';

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

const MAX_PROOF_BYTES = 8_192;

export function sendProof(socket: WebSocket, frame: ProofFrame): void {
  socket.send(JSON.stringify(frame));
}

/** The next frame. Throws LINK_REFUSED: closed, too large, malformed, or out of time. */
export async function nextProof(socket: WebSocket, signal: AbortSignal): Promise<ProofFrame> {
  const ended = new AbortController();
  const closed = (): void => ended.abort();
  socket.once('close', closed);
  try {
    const [data] = (await once(socket, 'message', { signal: AbortSignal.any([signal, ended.signal]) })) as [unknown];
    return parseProof(String(data));
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError('LINK_REFUSED', { reason: signal.aborted ? 'proof-timeout' : 'closed-during-proof' }, { cause: error });
  } finally {
    socket.off('close', closed);
  }
}

function parseProof(text: string): ProofFrame {
  const malformed = new HoldfastError('LINK_REFUSED', { reason: 'malformed-proof' });
  if (text.length > MAX_PROOF_BYTES) throw malformed;
  try {
    return proofFrameSchema.parse(JSON.parse(text));
  } catch {
    throw malformed;
  }
}

export function scramOf(frame: ProofFrame): string {
  if ('proof' in frame) return frame.proof;
  throw new HoldfastError('LINK_REFUSED', { reason: 'refused' in frame ? 'refused-by-peer' : 'malformed-proof' });
}

/** RFC 9266: 32 bytes that only the two ends of this TLS connection can know. */
export const BINDING = { bytes: 32, label: 'EXPORTER-Channel-Binding' } as const;
