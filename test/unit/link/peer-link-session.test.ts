import { describe, expect, it } from 'vitest';
import type { Json } from '../../../src/shared/foundation/json.ts';
import { limits } from '../../../src/shared/model/limits.ts';
import { asking, createLinkPair, createPipe, epoch, type Later, later, watchOutcome } from '../../support/link-pipe.ts';

/** A master that answers `exec` when the test says so, and counts how often each body ran. */
function answering(pair: ReturnType<typeof createLinkPair>): { runs: Map<string, number>; answers: Map<string, Later<Json>> } {
  const runs = new Map<string, number>();
  const answers = new Map<string, Later<Json>>();
  for (const side of [pair.edge, pair.master]) {
    side.answer = ({ body }) => {
      const name = typeof body === 'string' ? body : '';
      runs.set(name, (runs.get(name) ?? 0) + 1);
      const answer = later<Json>();
      answers.set(name, answer);
      return answer.promise;
    };
  }
  return { runs, answers };
}

describe('a link that comes back within the window', () => {
  const moments = ['before the request arrived', 'before the answer arrived', 'while the method runs'];
  it.each(moments)('neither fails nor repeats a request when it was cut %s', async (when) => {
    const pair = createLinkPair();
    const { edge, master, clock, connect } = pair;
    const { runs, answers } = answering(pair);
    const pipe = await connect();
    if (when === 'before the request arrived') pipe.cut();
    const down = watchOutcome(master.link.request('exec', 'from master', asking()));
    const up = watchOutcome(edge.link.request('exec', 'from edge', asking()));
    await clock.advance(20);
    if (when === 'before the answer arrived') {
      pipe.cut();
      for (const [name, answer] of answers) answer.resolve(`done ${name}`);
      await clock.advance(20);
    }
    pipe.reset();
    await clock.advance(2_000);
    expect([up.outcome, down.outcome]).toEqual(['pending', 'pending']);
    await connect();
    for (const [name, answer] of answers) answer.resolve(`done ${name}`);
    await clock.advance(50);
    expect(edge.opened.at(-1)).toMatchObject({ resumed: true });
    expect(master.opened.at(-1)).toMatchObject({ resumed: true });
    expect([up.outcome, down.outcome]).toEqual([{ value: 'done from edge' }, { value: 'done from master' }]);
    expect(Object.fromEntries(runs)).toEqual({ 'from edge': 1, 'from master': 1 });
  });

  it('drops what arrived already and keeps the order of the rest', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    const pipe = await connect();
    for (let i = 0; i < 5; i += 1) edge.link.post('ready', i);
    await clock.advance(20);
    // The acknowledgement of 0 to 4 is lost, then 5 to 9 themselves.
    pipe.cut();
    for (let i = 5; i < 10; i += 1) edge.link.post('ready', i);
    pipe.reset();
    await connect();
    await clock.advance(50);
    expect(master.posts.map(({ body }) => body)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('ignores a frame that comes a second time on the same socket', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    const pipe = await connect();
    edge.link.post('ready', 'once');
    pipe.edge.send(pipe.edge.sent.at(-1) ?? '');
    await clock.advance(20);
    expect(master.posts).toEqual([{ type: 'ready', body: 'once' }]);
    expect(master.link.state).toBe('open');
  });

  it.each([
    ['a number is missing', 'sequence-gap', JSON.stringify({ t: 'post', seq: 2, ack: 0, type: 'ready', body: 1, ep: null })],
    ['a part does not follow', 'invalid-frame', JSON.stringify({ t: 'part', seq: 1, ack: 0, of: 'post', at: 7, text: 'x' })],
    ['no schema accepts a frame', 'invalid-frame', '{"t":"post","seq":1}'],
  ])('ends the session when %s: it would be so again after a resumption', async (_, reason, text) => {
    const { edge, master, clock, connect } = createLinkPair();
    const pipe = await connect();
    pipe.edge.send(text);
    const request = watchOutcome(master.link.request('exec', 1, asking()));
    await clock.advance(20);
    expect(master.downs).toMatchObject([{ reason }]);
    expect(master.posts).toEqual([]);
    expect(request.outcome).toEqual({ code: 'LINK_LOST', fate: 'unknown' });
    await connect();
    expect([master.opened.at(-1)?.resumed, edge.opened.at(-1)?.resumed]).toEqual([false, false]);
  });

  it('gives a request that is sent again what is left of its time, not all of it', async () => {
    const pair = createLinkPair();
    const { edge, master, clock, connect } = pair;
    answering(pair);
    const pipe = await connect();
    pipe.cut();
    const deadlineMs = clock.monotonicMs() + 5_000;
    const request = watchOutcome(edge.link.request('exec', 'slow', asking(5_000)));
    pipe.reset();
    await clock.advance(3_000);
    await connect();
    await clock.advance(20);
    expect(edge.opened.at(-1)?.resumed).toBe(true);
    // The way there takes a little; the cut does not count twice.
    expect((master.calls[0]?.deadlineMs ?? 0) - deadlineMs).toBeLessThan(50);
    expect(request.outcome).toBe('pending');
  });

  it('delivers what was told during the cut, the last value of each variable, and counts it when the session ends instead', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    const pipe = await connect();
    const dropped = (): number => edge.metrics.read('holdfast_link_dropped_total', { peer: 'master' });
    const tell = (value: string): void => edge.link.post('status', value, { conflateKey: 'power' });
    tell('before');
    await clock.advance(20);
    pipe.reset();
    for (let i = 0; i < 20_000; i += 1) tell(`during ${i}`);
    await connect();
    await clock.advance(20);
    expect(master.posts.map(({ body }) => body)).toEqual(['before', 'during 19999']);
    expect(dropped()).toBe(0);
    edge.link.close(2, 'test');
    tell('too late');
    await clock.advance(limits.resumeWindowMs);
    expect(dropped()).toBe(1);
    tell('nobody is there');
    await connect();
    await clock.advance(20);
    expect(master.posts.at(-1)?.body).toBe('during 19999');
  });

  it('does not replay what expired or lost its epoch meanwhile, and settles it', async () => {
    const pair = createLinkPair();
    const { edge, master, clock, connect } = pair;
    const { runs } = answering(pair);
    const pipe = await connect();
    pipe.cut();
    const expired = watchOutcome(edge.link.request('exec', 'expired', asking(1_000)));
    const stale = watchOutcome(edge.link.request('exec', 'stale', asking()));
    edge.link.post('status', 'stale');
    edge.link.post('ready', 'still wanted');
    pipe.reset();
    await clock.advance(1_500);
    edge.floor = epoch(2);
    await connect();
    const fresh = watchOutcome(edge.link.request('exec', 'fresh', asking()));
    await clock.advance(50);
    expect(edge.opened.at(-1)?.resumed).toBe(true);
    expect(expired.outcome).toEqual({ code: 'DEADLINE', fate: 'unknown' });
    expect(stale.outcome).toEqual({ code: 'STALE_EPOCH' });
    expect(fresh.outcome).toBe('pending');
    expect([...runs.keys()]).toEqual(['fresh']);
    expect(master.posts).toEqual([{ type: 'ready', body: 'still wanted' }]);
  });

  it('never sends a control message again', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    const pipe = await connect();
    pipe.cut();
    edge.link.sendControl(1, { t: 'control.claimed', negotiation: 1, epoch: epoch(2) });
    pipe.reset();
    await connect();
    edge.link.sendControl(1, { t: 'control.claimed', negotiation: 1, epoch: epoch(2) });
    await clock.advance(50);
    expect(edge.opened.at(-1)?.resumed).toBe(true);
    expect(master.control.map(({ t }) => t)).toEqual(['hello', 'hello']);
  });

  it('is not kept open longer by sockets on which nobody negotiated', async () => {
    const pair = createLinkPair({ edge: { resumeWindowMs: 3_000 }, master: { resumeWindowMs: 3_000 } });
    const { edge, master, clock, connect } = pair;
    answering(pair);
    const pipe = await connect();
    const request = watchOutcome(edge.link.request('exec', 'asked', asking()));
    await clock.advance(20);
    pipe.reset();
    for (let attempt = 0; attempt < 2; attempt += 1) {
      await clock.advance(1_300);
      const dead = createPipe(clock);
      dead.cut();
      edge.link.attach(dead.edge);
      master.link.attach(dead.master);
      await clock.advance(100);
      dead.reset();
    }
    await clock.advance(300);
    expect(request.outcome).toEqual({ code: 'LINK_LOST', fate: 'unknown' });
    await connect();
    expect(edge.opened.at(-1)?.resumed).toBe(false);
  });

  it('starts anew when the window of the edge ends while the master answers that it resumes', async () => {
    const { edge, clock, connect } = createLinkPair({ edge: { resumeWindowMs: 1_000 } });
    const pipe = await connect();
    pipe.reset();
    await clock.advance(950);
    // The answer needs 200 ms, the window has 50 ms left.
    await connect({ delayMs: 100 });
    expect(edge.link.state).toBe('down');
    await connect();
    expect(edge.opened.at(-1)?.resumed).toBe(false);
    const request = watchOutcome(edge.link.request('exec', 'hello', asking()));
    await clock.advance(50);
    expect(request.outcome).toEqual({ value: 'hello' });
  });
});

describe('a link that does not resume', () => {
  it.each(['edge', 'master'] as const)('settles what was pending when the %s has restarted', async (restarted) => {
    const pair = createLinkPair();
    const { clock, connect } = pair;
    const { answers } = answering(pair);
    const pipe = await connect();
    const survivor = restarted === 'edge' ? pair.master : pair.edge;
    const request = watchOutcome(survivor.link.request('exec', 'asked', asking()));
    const incoming = watchOutcome((restarted === 'edge' ? pair.edge : pair.master).link.request('exec', 'to survivor', asking()));
    await clock.advance(20);
    pipe.reset();
    pair.restart(restarted);
    expect(incoming.outcome).toBe('pending');
    await connect();
    expect(survivor.opened.at(-1)?.resumed).toBe(false);
    expect(request.outcome).toEqual({ code: 'LINK_LOST', fate: 'unknown' });
    expect(incoming.outcome).toEqual({ code: 'LINK_LOST', fate: 'unknown' });
    // Nobody waits for it any more: its signal says so, and the answer is not sent to the new process.
    expect(survivor.calls[0]?.signal.reason).toMatchObject({ code: 'LINK_LOST' });
    answers.get('to survivor')?.resolve('too late');
    const next = watchOutcome(survivor.link.request('exec', 'next', asking()));
    await clock.advance(50);
    expect(next.outcome).toEqual({ value: 'next' });
  });

  it.each(['edge', 'master'] as const)('settles what was pending at once when the %s says that it stops', async (stops) => {
    const pair = createLinkPair();
    answering(pair);
    await pair.connect();
    const [survivor, stopping] = stops === 'edge' ? [pair.master, pair.edge] : [pair.edge, pair.master];
    const unanswered = watchOutcome(survivor.link.request('exec', 'asked', asking()));
    await pair.clock.advance(20);
    stopping.link.shutdown();
    await pair.clock.advance(20);
    expect(unanswered.outcome).toEqual({ code: 'LINK_LOST', fate: 'unknown' });
    await pair.connect();
    expect(survivor.opened.at(-1)?.resumed).toBe(false);
  });

  it('settles what was pending when the window is over, and says what was sent', async () => {
    const { edge, clock, connect } = createLinkPair();
    const pipe = await connect();
    pipe.edge.flow = 'stalled';
    const sent = watchOutcome(edge.link.request('exec', 'sent', asking()));
    pipe.edge.send('x'.repeat(limits.socketBytes));
    const waiting = watchOutcome(edge.link.request('exec', 'waiting', asking()));
    pipe.reset();
    await clock.advance(limits.resumeWindowMs - 1);
    expect([sent.outcome, waiting.outcome]).toEqual(['pending', 'pending']);
    await clock.advance(1);
    expect(sent.outcome).toEqual({ code: 'LINK_LOST', fate: 'unknown' });
    expect(waiting.outcome).toEqual({ code: 'LINK_LOST', fate: 'not-sent' });
    await connect();
    expect(edge.opened.at(-1)?.resumed).toBe(false);
  });

  it('cannot resume once more was sent without acknowledgement than is kept', async () => {
    const pair = createLinkPair();
    const { edge, master, clock, connect } = pair;
    const pipe = await connect();
    pipe.master.flow = 'lost';
    const request = watchOutcome(edge.link.request('exec', 'asked', asking()));
    for (let i = 0; i < limits.resumeBufferFrames; i += 1) edge.link.post('ready', i);
    pipe.reset();
    await connect();
    expect(edge.opened.at(-1)?.resumed).toBe(false);
    expect(request.outcome).toEqual({ code: 'LINK_LOST', fate: 'unknown' });
    await clock.advance(50);
    expect(master.link.state).toBe('open');
  });
});

describe('a new socket', () => {
  it('is told before anything that came early on it', async () => {
    const { edge, master, clock } = createLinkPair();
    const pipe = createPipe(clock);
    edge.link.attach(pipe.edge);
    edge.link.sendControl(1, { t: 'hello', negotiation: 1, epoch: epoch(0), state: 'holding', held: [] });
    await clock.advance(20);
    master.link.attach(pipe.master);
    expect(master.events).toEqual(['up 1', 'hello 1']);
  });
});

describe('a replaced socket', () => {
  it('cannot remove the one that took its place', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    const first = await connect();
    const second = await connect();
    expect(first.master.closedReason).toBe('replaced');
    first.master.end('late');
    edge.link.close(1, 'late order for the old socket');
    first.edge.deliver('not a frame');
    await clock.advance(100);
    expect(second.master.closedReason).toBeNull();
    expect([edge.link.state, master.link.state]).toEqual(['open', 'open']);
    expect(master.downs).toMatchObject([{ link: 1, reason: 'replaced' }]);
    expect(edge.downs).toMatchObject([{ link: 1 }]);
  });
});
