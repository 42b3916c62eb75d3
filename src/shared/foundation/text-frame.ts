const FINAL_TEXT = 0x81;

/**
 * A text message as the bytes of one WebSocket frame (RFC 6455, section 5.2; servers do not mask). Made here and not by
 * the socket library, so that a message for a thousand clients is encoded once.
 */
export function textFrame(text: string): Uint8Array {
  const length = Buffer.byteLength(text);
  const head = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const frame = Buffer.allocUnsafe(head + length);
  frame[0] = FINAL_TEXT;
  if (head === 2) frame[1] = length;
  else if (head === 4) {
    frame[1] = 126;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 127;
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  frame.write(text, head);
  return frame;
}
