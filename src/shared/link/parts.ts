import { limits } from '../model/limits.ts';
import { completeFrame, type InvalidFrame, type LastFrame, type Message, type MessageType, type PartFrame } from './frames.ts';
import type { OutboxItem } from './outbox.ts';

/**
 * Long bodies travel in parts, so that heartbeats and short frames go between them. The message itself comes last, without its body:
 * what it says of its deadline is true when it leaves, and until then it can still be left out.
 */

/** No character of JSON text has more than three bytes on the wire, and there is room for the fields of the frame. */
const PART_CHARACTERS = Math.floor(limits.bulkFrameBytes / 3) - 200;

export const isLong = (body: string): boolean => body.length > PART_CHARACTERS;

/** The frames that carry a message with a long body, in order: the parts of the body, then the message. */
export function framesOf(item: OutboxItem): OutboxItem[] {
  const parts: OutboxItem[] = [];
  for (let at = 0; at < item.body.length; at += PART_CHARACTERS) {
    // A pair of surrogates that is cut in two is escaped by JSON, and whole again when the parts are joined.
    const body = JSON.stringify(item.body.slice(at, at + PART_CHARACTERS));
    parts.push({ t: 'part', head: () => `,"of":"${item.t}","at":${at}`, bodyField: 'text', body, stillWanted: () => item.stillWanted?.() ?? true });
  }
  return [
    ...parts,
    {
      t: item.t,
      head: () => `${item.head()},"parts":"${item.bodyField}"`,
      bodyField: item.bodyField,
      body: '',
      onSent: () => item.onSent?.(),
      stillWanted: () => item.stillWanted?.() ?? true,
      onUnwanted: () => item.onUnwanted?.(),
    },
  ];
}

/** Bodies that are on their way: one for each type of message, for those of a type come one after the other. */
export class PartialBodies {
  readonly #bodies = new Map<MessageType, { parts: string[]; length: number }>();

  /** False: it does not follow what came before, says nothing, or is longer than a body may be. */
  add({ of, at, text }: PartFrame): boolean {
    const known = this.#bodies.get(of);
    // A new beginning: the sender has left out the rest of the one before.
    const body = at === 0 || known === undefined ? { parts: [], length: 0 } : known;
    if (at !== body.length || text === '' || at + text.length > limits.maxFrameBytes) return false;
    body.parts.push(text);
    body.length += text.length;
    this.#bodies.set(of, body);
    return true;
  }

  lengthOf({ of }: LastFrame): number {
    return this.#bodies.get(of)?.length ?? 0;
  }

  complete(last: LastFrame): Message | InvalidFrame {
    const parts = this.#bodies.get(last.of)?.parts ?? [];
    this.#bodies.delete(last.of);
    return completeFrame(last, parts.join(''));
  }

  clear(): void {
    this.#bodies.clear();
  }
}
