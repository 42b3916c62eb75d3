import type { ServerResponse } from 'node:http';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { EventsReply } from '../../api/reply.ts';

/**
 * Writes a stream as server-sent events until its buffer closes or the reader leaves. Nothing is taken from the
 * buffer while the socket is full, so a slow reader costs bounded memory; one that reads nothing at all is cut off.
 */
export function sendEvents(raw: ServerResponse, headers: Record<string, string>, reply: EventsReply, clock: Clock): void {
  const { buffer, event } = reply;
  raw.writeHead(200, { ...headers, 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
  raw.write(': open\n\n');
  let writtenMs = clock.monotonicMs();

  const pump = (): void => {
    while (!raw.destroyed && !raw.writableEnded && !raw.writableNeedDrain) {
      const dropped = buffer.takeDropped();
      const data = dropped > 0 ? { dropped } : buffer.take();
      if (data === undefined) break;
      writtenMs = clock.monotonicMs();
      raw.write(`event: ${dropped > 0 ? 'dropped' : event}\ndata: ${JSON.stringify(data)}\n\n`);
    }
    if (buffer.closed && !raw.writableEnded) raw.end();
  };

  const beat = (): void => {
    if (raw.writableNeedDrain || raw.writableEnded) {
      if (clock.monotonicMs() - writtenMs >= limits.apiStreamStalledMs) raw.destroy();
    } else {
      writtenMs = clock.monotonicMs();
      raw.write(': heartbeat\n\n');
    }
    timer = clock.after(limits.apiStreamHeartbeatMs, beat);
  };
  let timer = clock.after(limits.apiStreamHeartbeatMs, beat);

  raw.on('drain', pump);
  raw.once('close', () => {
    timer.cancel();
    reply.stop();
  });
  // A client that left before we got here has had its `close` already.
  if (raw.destroyed) {
    timer.cancel();
    reply.stop();
    return;
  }
  buffer.listen(pump);
}
