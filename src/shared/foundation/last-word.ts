import type { Duplex } from 'node:stream';

/**
 * Ends a connection with an answer, and cuts off who has not left when `timer` fires: half open it would stay as long as
 * the client likes, and count. Not at once: what the client still sends would reset the connection before it has read.
 */
export function sayLastWord(stream: Duplex, text: string, timer: (cut: () => void) => { cancel(): void }): void {
  stream.end(text);
  // Otherwise nobody sees that the client has left.
  stream.resume();
  const patience = timer(() => stream.destroy());
  stream.once('close', () => patience.cancel());
}
