import { describe, expect, it } from 'vitest';
import { Outbox, type OutboxItem } from '../../../src/shared/link/outbox.ts';

const item = (body: string, more: Partial<OutboxItem> = {}): OutboxItem => ({ t: 'post', head: () => '', bodyField: 'body', body: JSON.stringify(body), ...more });
const ack = () => 0;
const long = item('x'.repeat(300_000));

const setUp = () => {
  const outbox = new Outbox({ waiting: 10, waitingBytes: 1_000_000, unackedFrames: 10, unackedBytes: 1_000_000 });
  const sent: unknown[] = [];
  const note = (text: string | null): boolean => {
    if (text === null) return false;
    const { seq, body, text: part } = JSON.parse(text) as { seq: number; body?: unknown; text?: unknown };
    sent.push([seq, body ?? (part === undefined ? null : 'part')]);
    return true;
  };
  return { outbox, sent, pass: (frame: OutboxItem) => note(outbox.pass(frame, ack)), next: (bulk = true) => note(outbox.next(ack, bulk)) };
};

describe('a frame that need not wait', () => {
  it('has the next number, and is sent again after a cut like any other', () => {
    const { outbox, sent, pass, next } = setUp();
    expect([pass(item('a')), pass(item('b'))]).toEqual([true, true]);
    outbox.resume(1);
    expect(next()).toBe(true);
    expect(sent).toEqual([[1, 'a'], [2, 'b'], [2, 'b']]);
  });

  it('never overtakes what waits in its lane', () => {
    const { outbox, sent, pass, next } = setUp();
    outbox.push(item('a'), false);
    expect(pass(item('b'))).toBe(false);
    next();
    expect(pass(item('b'))).toBe(true);
    expect(sent).toEqual([[1, 'a'], [2, 'b']]);
  });

  it('never overtakes the rest of a long frame', () => {
    const { outbox, pass, next } = setUp();
    outbox.push(long, false);
    next();
    expect(pass(item('b'))).toBe(false);
  });

  it('goes ahead of the bulk lane', () => {
    const { outbox, sent, pass } = setUp();
    outbox.push(item('bulk'), true);
    expect(pass(item('a'))).toBe(true);
    expect(sent).toEqual([[1, 'a']]);
  });

  it('never overtakes what the peer missed', () => {
    const { outbox, sent, pass, next } = setUp();
    pass(item('a'));
    outbox.resume(0);
    expect(pass(item('b'))).toBe(false);
    next();
    pass(item('b'));
    expect(sent).toEqual([[1, 'a'], [1, 'a'], [2, 'b']]);
  });

  it('is left to the queue when it is long, or not wanted any more', () => {
    const { pass } = setUp();
    expect(pass(long)).toBe(false);
    expect(pass(item('a', { stillWanted: () => false }))).toBe(false);
  });
});
