import { describe, expect, it } from 'vitest';
import type { Json } from '../../../src/shared/foundation/json.ts';
import { limits } from '../../../src/shared/model/limits.ts';
import { asking, createLinkPair, later, watchOutcome } from '../../support/link-pipe.ts';

describe('a request over the link', () => {
  it('ends at its deadline at both ends', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    const pipe = await connect();
    master.answer = () => later<Json>().promise;
    const request = watchOutcome(edge.link.request('exec', 1, asking(500)));
    await clock.advance(20);
    // No cancel arrives: the other side has a deadline of its own.
    pipe.edge.flow = 'lost';
    await clock.advance(479);
    expect(request.outcome).toBe('pending');
    await clock.advance(1);
    expect(request.outcome).toEqual({ code: 'DEADLINE', fate: 'unknown' });
    await clock.advance(11);
    expect(master.calls[0]?.signal.reason).toMatchObject({ code: 'DEADLINE' });
  });

  it('is refused at once when too many are under way, and the others go on', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    await connect();
    master.answer = () => later<Json>().promise;
    const pending = Array.from({ length: limits.pendingRequests }, () => watchOutcome(edge.link.request('exec', 1, asking())));
    await expect(edge.link.request('exec', 1, asking())).rejects.toMatchObject({ code: 'LINK_BUSY' });
    await clock.advance(20);
    expect(pending.every(({ outcome }) => outcome === 'pending')).toBe(true);
  });

  it.each(['deadline', 'cancel'])('does not run after its %s when it never left before: it was said to be not sent', async (how) => {
    const { edge, master, clock, connect } = createLinkPair();
    const pipe = await connect();
    pipe.edge.flow = 'stalled';
    pipe.edge.send('x'.repeat(limits.socketBytes));
    const abort = new AbortController();
    const request = watchOutcome(edge.link.request('exec', 'late', asking(500, abort.signal)));
    if (how === 'cancel') abort.abort();
    await clock.advance(500);
    expect(request.outcome).toEqual({ code: how === 'cancel' ? 'CANCELLED' : 'DEADLINE', fate: 'not-sent' });
    pipe.reset();
    await connect();
    await clock.advance(100);
    expect(edge.opened.at(-1)?.resumed).toBe(true);
    expect(master.calls).toEqual([]);
  });

  it('is answered with an error, and the link lives on, when the value is larger than a frame', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    await connect();
    master.answer = async () => 'x'.repeat(limits.maxFrameBytes);
    const request = watchOutcome(edge.link.request('exec', 1, asking()));
    master.link.post('status', 'x'.repeat(limits.maxFrameBytes));
    master.link.post('status', 'small');
    await clock.advance(50);
    expect(request.outcome).toEqual({ code: 'BODY_TOO_LARGE' });
    expect(edge.posts).toEqual([{ type: 'status', body: 'small' }]);
    expect(edge.link.state).toBe('open');
  });

  it('is refused when the texts of those under way are too long together, until one of them is answered', async () => {
    const { master, clock, connect } = createLinkPair();
    const pipe = await connect();
    const half = 'x'.repeat(limits.maxFrameBytes / 2);
    const held = later<Json>();
    master.answer = () => held.promise;
    let seq = 0;
    const ask = async (body: string): Promise<number> => {
      seq += 1;
      pipe.edge.send(JSON.stringify({ t: 'request', seq, ack: 0, id: seq, kind: 'status', body, ep: null, ttl: 60_000 }));
      await clock.advance(20);
      return master.calls.length;
    };
    const most = Math.floor(limits.pendingRequestBytes / (half.length + 100));
    for (let i = 1; i <= most; i += 1) expect(await ask(half)).toBe(i);
    expect([await ask(half), await ask('short')]).toEqual([most, most + 1]);
    expect(pipe.master.sent.filter((frame) => frame.includes('LINK_BUSY'))).toHaveLength(1);
    held.resolve(1);
    await clock.advance(20);
    expect(await ask(half)).toBe(most + 2);
  });

  it('ends the session when it bears the number of one that is under way: it would not count', async () => {
    const { master, clock, connect } = createLinkPair();
    const pipe = await connect();
    master.answer = () => later<Json>().promise;
    for (const seq of [1, 2]) pipe.edge.send(JSON.stringify({ t: 'request', seq, ack: 0, id: 7, kind: 'status', body: {}, ep: null, ttl: 1_000 }));
    await clock.advance(30);
    expect([master.calls.length, master.downs]).toMatchObject([1, [{ reason: 'invalid-frame' }]]);
  });
});
