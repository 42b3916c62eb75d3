import { HoldfastError } from '../shared/model/errors.ts';

export interface ServerEvent {
  event: string;
  data: string;
}

const MAX_EVENT_CHARACTERS = 8 * 1024 * 1024;

/** Server-sent events out of text in pieces of any size. Comments, which are heartbeats, are skipped. */
export async function* parseEvents(chunks: AsyncIterable<string>): AsyncGenerator<ServerEvent> {
  let rest = '';
  for await (const chunk of chunks) {
    rest += chunk;
    if (rest.length > MAX_EVENT_CHARACTERS) throw new HoldfastError('LINK_PROTOCOL', { problem: 'an event is too large' });
    const blocks = rest.split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const event = parseBlock(block);
      if (event !== null) yield event;
    }
  }
}

function parseBlock(block: string): ServerEvent | null {
  let event = 'message';
  const data: string[] = [];
  for (const line of block.split('\n')) {
    if (line.startsWith('event: ')) event = line.slice('event: '.length);
    else if (line.startsWith('data: ')) data.push(line.slice('data: '.length));
  }
  return data.length === 0 ? null : { event, data: data.join('\n') };
}
