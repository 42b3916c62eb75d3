import { PassThrough } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { JsonLines } from '../../src/shared/adapters/host-process/json-lines.ts';
import { limits } from '../../src/shared/model/limits.ts';

/** A stream that gives back what is written to it: both ends of the pipe at once. */
function loopBack() {
  const stream = new PassThrough();
  const messages: unknown[] = [];
  const ends: string[] = [];
  const writes: number[] = [];
  const write = stream.write.bind(stream) as (chunk: string) => boolean;
  stream.write = (chunk: unknown) => {
    writes.push(String(chunk).length);
    return write(String(chunk));
  };
  const lines = new JsonLines(stream, { message: (message) => void messages.push(message), drained: () => undefined, ended: (reason) => void ends.push(reason) });
  return { stream, lines, messages, ends, writes };
}

describe('the pipe to a driver host', () => {
  it('sends the first of an event-loop turn at once, and the others in one write, in order', async () => {
    const { lines, messages, writes } = loopBack();
    lines.send({ a: 'ü\n' });
    expect(writes).toHaveLength(1);
    lines.send({ b: 2 });
    lines.send({ c: 3 });
    expect(writes).toHaveLength(1);
    await turn();
    await turn();
    expect(writes).toHaveLength(2);
    expect(messages).toEqual([{ a: 'ü\n' }, { b: 2 }, { c: 3 }]);
  });

  it('sends at once what must not wait, with everything before it', () => {
    const { lines, writes } = loopBack();
    for (let i = 0; i < 3; i += 1) lines.send({ i });
    expect(writes).toHaveLength(1);
    lines.flush();
    expect(writes).toHaveLength(2);
  });

  it('puts messages together however the bytes are cut', async () => {
    const { stream, messages } = loopBack();
    for (const byte of Buffer.from('{"a":"ü€"}\n[1]\n')) stream.push(Buffer.from([byte]));
    await turn();
    expect(messages).toEqual([{ a: 'ü€' }, [1]]);
  });

  it.each([
    ['what is not JSON', 'nonsense\n', 'a message is not JSON'],
    ['a message without end', 'x'.repeat(limits.maxFrameBytes + 1), 'a message is too long'],
  ])('ends once on %s, and says nothing more', async (_, bytes, reason) => {
    const { stream, lines, messages, ends } = loopBack();
    stream.push(bytes);
    await turn();
    lines.send({ a: 1 });
    await turn();
    expect(ends).toEqual([reason]);
    expect(messages).toEqual([]);
  });

  it('counts what waits, also before it was handed to the stream', () => {
    const { lines } = loopBack();
    lines.send({ first: 'leaves at once' });
    lines.send({ a: 'x'.repeat(1_000) });
    expect(lines.bufferedBytes()).toBeGreaterThan(1_000);
  });
});
