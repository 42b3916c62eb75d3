import { describe, expect, it } from 'vitest';
import type { PostType } from '../../../src/shared/link/frames.ts';
import { commandCancelled } from '../../../src/shared/link/cancelled-by.ts';
import { HoldfastError } from '../../../src/shared/model/errors.ts';
import { PeerPair } from '../../support/peer-pair.ts';

const never = new AbortController().signal;
const options = { signal: never, timeoutMs: 5_000 };

describe('a session between two nodes', () => {
  it('delivers nothing before it is negotiated', async () => {
    const pair = new PeerPair();
    pair.negotiates = false;
    pair.connect();
    await pair.clock.advance(100);
    await expect(pair.edge.link.request('exec', {}, options)).rejects.toMatchObject({ code: 'LINK_DOWN' });
    pair.edge.end.send(JSON.stringify({ t: 'post', seq: 1, ack: 0, type: 'ready', body: {}, ep: null }));
    await pair.clock.advance(100);
    expect(pair.master.posts).toEqual([]);
    expect(pair.master.downs.at(-1)?.reason).toBe('not-negotiated');
  });

  it('gives up a peer that does not negotiate in time', async () => {
    const pair = new PeerPair();
    pair.negotiates = false;
    pair.connect();
    await pair.clock.advance(6_000);
    expect(pair.edge.downs.at(-1)?.reason).toBe('negotiate-timeout');
  });

  it('carries many requests at once, both ways, and answers in any order', async () => {
    const pair = new PeerPair();
    await pair.open();
    const waiting: (() => void)[] = [];
    pair.master.answer = (_, body) => new Promise((resolve) => waiting.push(() => resolve(body)));
    const asked = Array.from({ length: 100 }, (_, i) => pair.edge.link.request('exec', i, options));
    const back = pair.master.link.request('exec', 'back', options);
    await pair.clock.advance(50);
    for (const answer of waiting.reverse()) answer();
    await pair.clock.advance(50);
    expect(await Promise.all(asked)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(await back).toEqual({ kind: 'exec', body: 'back' });
  });

  it('carries coded errors as they were', async () => {
    const pair = new PeerPair();
    await pair.open();
    pair.master.answer = () => Promise.reject(new HoldfastError('METHOD_NOT_FOUND', { module: 'mod-1', method: 'dance' }));
    const asked = expect(pair.edge.link.request('exec', {}, options)).rejects.toMatchObject({ code: 'METHOD_NOT_FOUND', facts: { method: 'dance' } });
    await pair.clock.advance(50);
    await asked;
  });

  it('ends a request at its deadline here, and cancels it there', async () => {
    const pair = new PeerPair();
    await pair.open();
    let aborted = false;
    pair.master.answer = (_, __, { signal }) =>
      new Promise(() => {
        signal.addEventListener('abort', () => (aborted = true));
      });
    const asked = expect(pair.edge.link.request('exec', {}, { signal: never, timeoutMs: 1_000 })).rejects.toMatchObject({
      code: 'DEADLINE',
      facts: { fate: 'unknown' },
    });
    await pair.clock.advance(1_100);
    await asked;
    expect(aborted).toBe(true);
  });

  it.each([
    ['the caller', undefined, { code: 'CANCELLED' }],
    ['an operator, and who that is,', commandCancelled({ user: 'olga', who: 'token-olga' }), { code: 'COMMAND_CANCELLED', facts: { by: 'olga', who: 'token-olga' } }],
    ['an operator whose credential is not known', commandCancelled({ user: 'olga' }), { code: 'COMMAND_CANCELLED', facts: { by: 'olga', fate: 'unknown' } }],
  ])('takes a cancel of %s to the other side', async (_, why, there) => {
    const pair = new PeerPair();
    await pair.open();
    let reason: unknown;
    pair.master.answer = (__, ___, { signal }) =>
      new Promise(() => {
        signal.addEventListener('abort', () => (reason = signal.reason));
      });
    const caller = new AbortController();
    const asked = expect(pair.edge.link.request('exec', {}, { signal: caller.signal, timeoutMs: 5_000 })).rejects.toMatchObject({ code: 'CANCELLED' });
    await pair.clock.advance(50);
    caller.abort(why);
    await asked;
    await pair.clock.advance(50);
    expect(reason).toMatchObject(there);
  });
});

describe('a line that is half-open', () => {
  it.each(['edge', 'master'] as const)('is noticed by both within 3.5 s when what the %s sends is lost', async (side) => {
    const pair = new PeerPair();
    await pair.open();
    await pair.clock.advance(10_000);
    const from = pair.clock.monotonicMs();
    pair[side].end.lost = true;
    await pair.clock.advance(3_500);
    for (const { downs } of [pair.edge, pair.master]) expect(downs.at(-1)?.atMs).toBeLessThanOrEqual(from + 3_500);
    expect(pair[side === 'edge' ? 'master' : 'edge'].downs.at(-1)?.reason).toMatch(/silent|closed/);
  });

  it('is not taken for one because much else flows: heartbeats stay on time during 100 MB of bulk', async () => {
    const pair = new PeerPair();
    await pair.open();
    pair.master.end.rate = 20_000_000;
    const page = 'x'.repeat(60 * 1_024);
    pair.master.answer = async () => page;
    let pages = 0;
    const pull = async (): Promise<void> => {
      while (pages < 1_700) {
        pages += 1;
        await pair.edge.link.request('replicate.snapshot', null, { signal: never, timeoutMs: 60_000 });
      }
    };
    const pulling = Promise.all([pull(), pull(), pull(), pull(), pull(), pull()]);
    await pair.clock.advance(30_000);
    await pulling;
    expect(pair.edge.downs).toEqual([]);
    expect(pair.master.downs).toEqual([]);
    expect(pair.edge.link.view().roundTripMs).toBeLessThan(1_000);
  });
});

describe('a line that breaks and comes back', () => {
  it('within the window: what was under way is answered, and ran once', async () => {
    const pair = new PeerPair();
    await pair.open();
    let answer = (): void => undefined;
    pair.master.answer = (_, body) =>
      new Promise((resolve) => {
        answer = () => resolve(body);
      });
    const asked = pair.edge.link.request('exec', 'once', { signal: never, timeoutMs: 20_000 });
    await pair.clock.advance(50);
    pair.edge.end.close('cut');
    await pair.clock.advance(1_000);
    answer();
    await pair.open();
    expect(pair.edge.opened).toEqual([false, true]);
    expect(await asked).toBe('once');
    expect(pair.master.calls).toEqual(['exec']);
  });

  it.each(['edge', 'master'] as const)('after a restart of the %s: nothing is resumed', async (side) => {
    const pair = new PeerPair();
    await pair.open();
    pair.master.answer = () => new Promise(() => undefined);
    const asked = pair.edge.link.request('exec', 'lost', { signal: never, timeoutMs: 20_000 });
    const lost = expect(asked).rejects.toMatchObject({ code: 'LINK_LOST', facts: { fate: 'unknown' } });
    await pair.clock.advance(50);
    pair.restart(side);
    await pair.clock.advance(100);
    await pair.open();
    await lost;
    expect(pair[side].opened).toEqual([false]);
  });

  it('after the window: everything pending is settled, and says what is known of its fate', async () => {
    const pair = new PeerPair();
    await pair.open();
    pair.master.answer = () => new Promise(() => undefined);
    const lost = expect(pair.edge.link.request('exec', {}, { signal: never, timeoutMs: 60_000 })).rejects.toMatchObject({ code: 'LINK_LOST' });
    await pair.clock.advance(50);
    pair.edge.end.close('cut');
    await pair.clock.advance(10_100);
    await lost;
    await pair.open();
    expect(pair.edge.opened).toEqual([false, false]);
  });

  it('is not disturbed by the late end of the line that it replaced', async () => {
    const pair = new PeerPair();
    await pair.open();
    const { end } = pair.edge;
    await pair.open();
    end.close('late');
    await pair.clock.advance(100);
    expect(pair.edge.link.state).toBe('open');
    expect(pair.edge.downs.map(({ reason }) => reason)).toEqual(['replaced']);
  });

  it('keeps the line of a live process against another one with the same identity, until it is dead', async () => {
    const pair = new PeerPair();
    await pair.open('one');
    const twin = pair.arrive('another');
    await pair.clock.advance(10);
    expect([twin.isClosed, pair.master.link.state, pair.master.downs]).toEqual([true, 'open', []]);
    pair.arrive('another');
    const refusals = pair.master.log.lines.filter(({ event }) => event === 'link-refused').map(({ facts }) => facts);
    expect(refusals).toMatchObject([{ edge: 'berlin', remote: 'memory', reason: 'duplicate-identity' }]);
    expect(pair.master.metrics.read('holdfast_link_refused_total', { reason: 'duplicate-identity' })).toBe(2);

    pair.edge.end.lost = true;
    await pair.clock.advance(3_100);
    expect(pair.arrive('another').isClosed).toBe(false);
  });

  it('sends no control message a second time', async () => {
    const pair = new PeerPair();
    await pair.open();
    pair.master.end.lost = true;
    pair.master.link.sendControl(pair.master.socket, { t: 'control.release', negotiation: 1, epoch: pair.master.floor, reason: 'timeout' });
    pair.edge.end.close('cut');
    await pair.clock.advance(100);
    await pair.open();
    expect(pair.edge.control.map(({ t }) => t)).toEqual(['negotiate', 'negotiate']);
  });
});

it('counts losses by their reason, of which a peer cannot make up ever other ones', async () => {
  const pair = new PeerPair();
  for (let i = 0; i < 60; i += 1) {
    await pair.open();
    pair.master.end.close(`word-${i}`);
    await pair.clock.advance(50);
  }
  const lost = (reason: string): number => pair.master.metrics.read('holdfast_link_losses_total', { peer: 'berlin', reason });
  expect([lost('word-0'), lost('word-49'), lost('word-50'), lost('other')]).toEqual([1, 1, 0, 10]);
});

describe('fence 1: the gate of the link', () => {
  it('refuses what carries an epoch that is over, and counts it', async () => {
    const pair = new PeerPair();
    await pair.open();
    pair.master.floor = { generation: 0, number: 7 };
    const refused = expect(pair.edge.link.request('exec', {}, options)).rejects.toMatchObject({ code: 'STALE_EPOCH' });
    pair.edge.link.post('status', { module: 'm', key: 'k', value: 1 });
    await pair.clock.advance(50);
    await refused;
    expect(pair.master.calls).toEqual([]);
    expect(pair.master.posts).toEqual([]);
    expect(pair.master.metrics.read('holdfast_fencing_refusals_total', { fence: 'link' })).toBe(2);
  });

  it('tells of an epoch that is above the floor, whatever brings it', async () => {
    const pair = new PeerPair();
    await pair.open();
    const higher = { generation: 0, number: 9 };
    pair.master.link.post('status', { module: 'm', key: 'k', value: 1 }, { epoch: higher });
    pair.master.floor = higher;
    await Promise.all([pair.master.link.request('exec', {}, options), pair.clock.advance(50)]);
    const { socket } = pair.edge;
    expect(pair.edge.heard).toEqual([[socket, higher], [socket, higher]]);
    expect(pair.edge.posts).toHaveLength(1);
    expect([pair.edge.calls, pair.master.heard]).toEqual([['exec'], []]);
  });

  it('refuses what must carry an epoch and carries none', async () => {
    const pair = new PeerPair();
    await pair.open();
    pair.edge.end.send(JSON.stringify({ t: 'request', seq: 1, ack: 0, id: 1, kind: 'exec', body: {}, ep: null, ttl: 1_000 }));
    await pair.clock.advance(50);
    expect(pair.master.end.sent.some((frame) => frame.includes('EPOCH_MISSING'))).toBe(true);
    expect(pair.master.calls).toEqual([]);
  });

  it('lets claims pass, whatever their epoch', async () => {
    const pair = new PeerPair();
    await pair.open();
    pair.master.floor = { generation: 3, number: 9 };
    const old = { generation: 0, number: 2 };
    pair.edge.link.sendControl(pair.edge.socket, { t: 'control.claimed', negotiation: 1, epoch: old });
    pair.edge.link.sendControl(pair.edge.socket, { t: 'control.renew', negotiation: 1, epoch: old, renewal: 1 });
    await pair.clock.advance(50);
    expect(pair.master.control.map(({ t }) => t)).toEqual(['hello', 'control.claimed']);
  });
});

describe('a peer that breaks the protocol', () => {
  it('learns which type is unknown; that is logged once', async () => {
    const pair = new PeerPair();
    await pair.open();
    for (let i = 0; i < 3; i += 1) pair.edge.end.send('{"t":"dance"}');
    await pair.clock.advance(50);
    expect(pair.master.end.sent.filter((frame) => frame.includes('UNKNOWN_TYPE'))).toHaveLength(3);
    expect(pair.master.log.lines.filter(({ event }) => event === 'unknown-type')).toHaveLength(1);
    expect(pair.master.link.state).toBe('open');
  });

  it.each(['{', '[]', '{"t":5}', '{"t":"hello"}', '{"t":"post","seq":-1}', '{"t":"hb","n":"x"}'])('is cut off after %s', async (frame) => {
    const pair = new PeerPair();
    await pair.open();
    pair.edge.end.send(frame);
    await pair.clock.advance(50);
    expect(pair.master.downs.at(-1)?.reason).toBe('invalid-frame');
    expect(pair.master.metrics.read('holdfast_link_refused_total', { reason: 'invalid-frame' })).toBe(1);
  });

  it('is cut off when it says what only the other side says', async () => {
    const pair = new PeerPair();
    await pair.open();
    pair.edge.link.sendControl(pair.edge.socket, { t: 'control.release', negotiation: 1, epoch: pair.edge.floor, reason: 'x' });
    await pair.clock.advance(50);
    expect(pair.master.downs.at(-1)?.reason).toBe('wrong-side');
  });
});

describe('a post', () => {
  it('of status need only leave soon; what a trigger did leaves now, for it is told before it is acted on', async () => {
    const pair = new PeerPair();
    await pair.open();
    const urgencyOf = (type: PostType) => {
      pair.edge.link.post(type, { key: 'k' }, { conflateKey: type });
      return pair.edge.end.urgency;
    };
    expect((['status', 'watched', 'trigger', 'log', 'modules'] as const).map(urgencyOf)).toEqual(['soon', 'soon', 'now', 'now', 'now']);
    await pair.clock.advance(20);
    expect(pair.master.posts).toHaveLength(5);
  });
});

describe('a peer that reads slowly', () => {
  it('gets the last value of each variable, and memory stays bounded', async () => {
    const pair = new PeerPair();
    await pair.open();
    pair.edge.end.rate = 1_000;
    const wide = 'y'.repeat(2_000_000);
    pair.edge.link.post('status', { module: 'm', key: 'big', value: wide }, { conflateKey: 'big' });
    for (let i = 0; i < 20_000; i += 1) pair.edge.link.post('status', { module: 'm', key: 'k', value: i }, { conflateKey: 'm k' });
    pair.edge.end.rate = 0;
    expect(pair.edge.end.sent.length).toBeLessThan(20);
    expect(pair.edge.end.bufferedBytes()).toBeLessThan(3_000_000);
  });

  it('is told LINK_BUSY at once when too much is under way', async () => {
    const pair = new PeerPair();
    await pair.open();
    pair.master.answer = () => new Promise(() => undefined);
    const codes = new Map<string, number>();
    for (let i = 0; i < 5_000; i += 1) {
      pair.edge.link.request('exec', i, options).catch((error: unknown) => {
        const code = error instanceof HoldfastError ? error.code : 'other';
        codes.set(code, (codes.get(code) ?? 0) + 1);
      });
    }
    await pair.clock.advance(10);
    expect(codes.get('LINK_BUSY')).toBe(5_000 - 4_096);
  });
});
