import { type Readable, Transform, type TransformCallback } from 'node:stream';
import { limits } from '../../model/limits.ts';

/** A body of which nobody has said how long it is. `onLarge` is called when it is no small one any more; what it throws ends it. */
export function countedBody(source: Readable, onLarge: () => void): Readable {
  let bytes = 0;
  const counted = new Transform({
    transform: (chunk: Buffer, _: BufferEncoding, done: TransformCallback) => {
      const wasSmall = bytes <= limits.smallRequestBytes;
      bytes += chunk.length;
      try {
        if (wasSmall && bytes > limits.smallRequestBytes) onLarge();
        done(null, chunk);
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)));
      }
    },
  });
  source.once('error', (error) => counted.destroy(error));
  source.once('close', () => {
    if (!source.readableEnded) counted.destroy();
  });
  // What still comes is let go, so that the connection can be used again.
  counted.once('close', () => source.resume());
  return source.pipe(counted);
}
