import { describe, expect, it } from 'vitest';
import type { Json } from '../../../src/shared/foundation/json.ts';
import { limits } from '../../../src/shared/model/limits.ts';
import { asking, createLinkPair, type LinkSide, type Pipe, watchOutcome } from '../../support/link-pipe.ts';

/** Characters of one to four bytes, quotes and pairs of surrogates: whatever could break where a body is cut. */
const long = (characters: number): string => '"a\\ü€😀\n'.repeat(Math.ceil(characters / 8)).slice(1);
const slow = { bytesPerSecond: 256 * 1024, delayMs: 20 };

/** The longest frame that each side sent, in bytes. */
function watchFrames(pipe: Pipe): { longest: number } {
  const seen = { longest: 0 };
  for (const end of [pipe.edge, pipe.master]) {
    const send = end.send.bind(end);
    end.send = (frame) => {
      seen.longest = Math.max(seen.longest, Buffer.byteLength(frame));
      send(frame);
    };
  }
  return seen;
}

async function slowestRoundTrip(side: LinkSide, { seconds, advance }: { seconds: number; advance(ms: number): Promise<void> }): Promise<number> {
  let slowest = 0;
  for (let second = 0; second < seconds; second += 1) {
    await advance(1_000);
    slowest = Math.max(slowest, side.link.view().roundTripMs ?? 0);
  }
  return slowest;
}

describe('a body of several megabytes on a slow line', () => {
  it('delays no heartbeat, lets commands pass, and arrives whole in frames of at most 64 KiB', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    const pipe = await connect(slow);
    const frames = watchFrames(pipe);
    const value = long(2_000_000);
    master.answer = async ({ body }) => (body === 'large' ? value : body);
    const large = watchOutcome(edge.link.request('exec', 'large', asking()));
    const advance = (ms: number): Promise<void> => clock.advance(ms);
    const slowest = await slowestRoundTrip(edge, { seconds: 4, advance });
    const command = watchOutcome(edge.link.request('exec', 'now', asking()));
    await clock.advance(1_500);
    expect(command.outcome).toEqual({ value: 'now' });
    expect(large.outcome).toBe('pending');
    // 256 KiB and the frame that goes over it, at 256 KiB/s.
    expect(Math.max(slowest, await slowestRoundTrip(edge, { seconds: 30, advance }))).toBeLessThan(1_400);
    expect([edge.downs, master.downs]).toEqual([[], []]);
    expect(large.outcome).toEqual({ value });
    expect(frames.longest).toBeLessThanOrEqual(limits.bulkFrameBytes);
    expect(pipe.master.maxBuffered).toBeLessThan(limits.socketBytes + limits.bulkFrameBytes);
  });

  it('goes on where it was after a cut, and does not flood the new line', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    const first = await connect(slow);
    const value = long(2_000_000);
    master.answer = async () => value;
    const large = watchOutcome(edge.link.request('exec', 'large', asking()));
    await clock.advance(5_000);
    first.reset();
    const second = await connect(slow);
    expect(edge.opened.at(-1)?.resumed).toBe(true);
    await clock.advance(30_000);
    expect(large.outcome).toEqual({ value });
    expect(master.calls.length).toBe(1);
    expect(second.master.maxBuffered).toBeLessThan(limits.socketBytes + limits.bulkFrameBytes);
    expect(edge.downs.length).toBe(1);
  });

  it('keeps its place among the values of a variable', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    await connect(slow);
    const value = long(500_000);
    const tell = (body: Json): void => edge.link.post('status', body, { conflateKey: 'picture' });
    tell(value);
    await clock.advance(500);
    tell('replaced');
    tell('off');
    await clock.advance(10_000);
    expect(master.posts.map(({ body }) => body)).toEqual([value, 'off']);
  });

  it('never runs as a request that was cancelled on its way, and is said not to have been sent', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    await connect(slow);
    const abort = new AbortController();
    const given = watchOutcome(edge.link.request('exec', long(900_000), asking(60_000, abort.signal)));
    await clock.advance(1_000);
    abort.abort();
    const value = long(300_000);
    const next = watchOutcome(edge.link.request('exec', value, asking()));
    await clock.advance(20_000);
    expect(given.outcome).toEqual({ code: 'CANCELLED', fate: 'not-sent' });
    expect(next.outcome).toEqual({ value });
    expect(master.calls.map(({ body }) => body)).toEqual([value]);
  });

  it('of status is not even written while much waits: hundreds ask at once, and may ask again', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    await connect(slow);
    let written = 0;
    const value = { toJSON: () => ((written += 1), 'x'.repeat(3_000_000)) };
    master.answer = async () => value as unknown as Json;
    const asked = Array.from({ length: 240 }, () => watchOutcome(edge.link.request('status', 1, asking(290_000))));
    await clock.advance(200_000);
    expect(written).toBe(4);
    expect(asked.filter(({ outcome }) => JSON.stringify(outcome).startsWith('{"value"')).length).toBe(4);
    expect(asked.filter(({ outcome }) => JSON.stringify(outcome).includes('LIMIT_REACHED')).length).toBe(236);
    const again = watchOutcome(edge.link.request('status', 1, asking(100_000)));
    await clock.advance(50_000);
    expect(JSON.stringify(again.outcome).startsWith('{"value"')).toBe(true);
    expect(edge.downs).toEqual([]);
  });

  it('is answered with an error when there is no room for it to wait, and the link lives on', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    await connect(slow);
    // The first is on its way, three wait.
    master.answer = async () => 'x'.repeat(5_000_000);
    const asked = Array.from({ length: 5 }, () => watchOutcome(edge.link.request('exec', 1, asking(290_000))));
    await clock.advance(120_000);
    expect(asked.filter(({ outcome }) => JSON.stringify(outcome).includes('BODY_TOO_LARGE')).length).toBe(1);
    expect(asked.filter(({ outcome }) => JSON.stringify(outcome).startsWith('{"value"')).length).toBe(4);
    expect(edge.downs).toEqual([]);
  });
});
