const FINAL_TEXT = 0x81;
const MASKED = 0x80;

/**
 * A text message as the bytes of one WebSocket frame (RFC 6455, section 5.2). Made here and not by the socket library,
 * so that a message for a thousand clients is encoded once, and the frames of a turn leave in one write.
 *
 * `mask`: 4 random bytes, from a client to a server; servers do not mask.
 */
export function textFrame(text: string, mask: Uint8Array | null = null): Uint8Array {
  const length = Buffer.byteLength(text);
  const lengthBytes = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const at = 2 + lengthBytes + (mask === null ? 0 : 4);
  const frame = Buffer.allocUnsafe(at + length);
  frame[0] = FINAL_TEXT;
  frame[1] = (mask === null ? 0 : MASKED) | (lengthBytes === 0 ? length : lengthBytes === 2 ? 126 : 127);
  if (lengthBytes === 2) frame.writeUInt16BE(length, 2);
  else if (lengthBytes === 8) frame.writeBigUInt64BE(BigInt(length), 2);
  frame.write(text, at);
  if (mask === null) return frame;
  frame.set(mask, at - 4);
  for (let i = 0; i < length; i += 1) frame[at + i] = (frame[at + i] ?? 0) ^ (mask[i & 3] ?? 0);
  return frame;
}
