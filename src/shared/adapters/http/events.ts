import type { ServerResponse } from 'node:http';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { EventsReply, ServerEvent } from '../../api/reply.ts';

/**
 * Writes a stream as server-sent events until its source closes or the reader leaves. Nothing is taken from the
 * source while the socket is full, so a slow reader costs bounded memory; one that reads nothing at all is cut off.
 */
export function sendEvents(raw: ServerResponse, headers: Record<string, string>, reply: EventsReply, clock: Clock): void {
  const { source } = reply;
  raw.writeHead(200, { ...headers, 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
  raw.write(': open\n\n');
  let writtenMs = clock.monotonicMs();

  const pump = (): void => {
    while (!raw.destroyed && !raw.writableEnded && !raw.writableNeedDrain) {
      const next = source.take();
      if (next === undefined) break;
      writtenMs = clock.monotonicMs();
      raw.write(textOf(next));
    }
    if (source.closed && !raw.writableEnded) raw.end();
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
  source.listen(pump);
}

function textOf({ event, id, data }: ServerEvent): string {
  const lines = [
    ...(event === undefined ? [] : [`event: ${event}`]),
    ...(id === undefined ? [] : [`id: ${id}`]),
    ...(data === undefined ? [] : [`data: ${JSON.stringify(data)}`]),
  ];
  return `${lines.join('\n')}\n\n`;
}
