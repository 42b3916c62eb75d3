import { describe, expect, it } from 'vitest';
import { EPOCH_ZERO } from '../../../src/shared/control/epoch.ts';
import type { Json } from '../../../src/shared/foundation/json.ts';
import { HIGHEST_EPOCH } from '../../../src/shared/model/control.ts';
import { limits } from '../../../src/shared/model/limits.ts';
import { asking, createLinkPair, createPipe, epoch, type LinkSide, watchOutcome } from '../../support/link-pipe.ts';

const frames = (sent: string[], type: string): number => sent.filter((text) => text.startsWith(`{"t":"${type}"`)).length;

describe('a line that dies silently', () => {
  it.each([
    ['both directions', ['edge', 'master']],
    ['from edge to master', ['edge']],
    ['from master to edge', ['master']],
  ] as const)('is noticed by both sides within 3.5 s when it dies in %s', async (_, lost) => {
    const { edge, master, clock, connect } = createLinkPair();
    const pipe = await connect({ delayMs: 20 });
    await clock.advance(10_000 + 777);
    expect([edge.downs, master.downs]).toEqual([[], []]);
    const cutMs = clock.monotonicMs();
    for (const side of lost) pipe[side].flow = 'lost';
    await clock.advance(3_500);
    for (const side of [edge, master]) {
      expect(side.downs.length).toBe(1);
      expect(side.downs[0]?.reason).toBe('silent');
      // Not rashly either: two heartbeats may go unanswered.
      expect((side.downs[0]?.atMs ?? 0) - cutMs).toBeGreaterThan(1_900);
    }
  });

  it('does not take traffic in one direction for life', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    const pipe = await connect();
    pipe.edge.flow = 'lost';
    for (let i = 0; i < 35; i += 1) {
      master.link.post('ready', i);
      await clock.advance(100);
    }
    expect(edge.posts.length).toBeGreaterThan(20);
    expect([edge.link.state, master.link.state]).toEqual(['down', 'down']);
  });

  it('closes on an answer to a heartbeat that was never sent', async () => {
    const { edge, clock, connect } = createLinkPair();
    const pipe = await connect();
    pipe.master.send('{"t":"hba","n":999,"ack":0}');
    await clock.advance(20);
    expect(edge.downs).toMatchObject([{ reason: 'invalid-heartbeat' }]);
  });
});

describe('a slow line', () => {
  it('keeps heartbeats on time during 100 MB of replication', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    const pipe = await connect({ bytesPerSecond: 1024 * 1024, delayMs: 20 });
    const page = 'x'.repeat(limits.bulkFrameBytes - 200);
    master.answer = async () => page;
    let bytes = 0;
    let slowest = 0;
    const ask = async (): Promise<void> => {
      while (bytes < 100_000_000) {
        const answer = await edge.link.request('replicate.snapshot', null, asking(300_000));
        bytes += JSON.stringify(answer).length;
      }
    };
    // Far more at once than the line takes in the time that a heartbeat has.
    const pullers = Array.from({ length: 100 }, () => ask());
    for (let second = 0; second < 120; second += 1) {
      await clock.advance(1_000);
      slowest = Math.max(slowest, edge.link.view().roundTripMs ?? 0);
    }
    expect(edge.downs).toEqual([]);
    expect(bytes).toBeGreaterThanOrEqual(100_000_000);
    // 4 KiB and the part that goes over it, at 1 MiB/s. A TLS socket keeps as much memory for good.
    expect(slowest).toBeLessThan(100);
    expect(pipe.master.maxBuffered).toBeLessThan(limits.bulkSocketBytes + limits.bulkFrameBytes / 3 + 1_000);
    const seconds = clock.monotonicMs() / 1_000;
    expect(frames(pipe.master.sent, 'hb')).toBeGreaterThan(seconds - 2);
    await Promise.all(pullers);
  });

  it('lets a command pass the replication that waits', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    await connect({ bytesPerSecond: 256 * 1024 });
    const page = 'x'.repeat(60_000);
    master.answer = async ({ kind, body }) => (kind === 'exec' ? body : page);
    const bulk = Array.from({ length: 20 }, () => watchOutcome(edge.link.request('replicate.pull', null, asking())));
    await clock.advance(100);
    const command = watchOutcome(edge.link.request('exec', 'now', asking()));
    await clock.advance(1_500);
    expect(command.outcome).toEqual({ value: 'now' });
    expect(bulk.filter(({ outcome }) => outcome === 'pending').length).toBeGreaterThan(5);
  });

  it('keeps the last value of a variable while it waits, and the order of the variables', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    const pipe = await connect({ bytesPerSecond: 10 * 1024 * 1024 });
    pipe.edge.send('{"t":"hb","n":0,"ack":0}'.padEnd(limits.socketBytes));
    for (let i = 0; i <= 50_000; i += 1) for (const key of ['power', 'volume']) edge.link.post('status', `${key} ${i}`, { conflateKey: key });
    await clock.advance(500);
    expect(master.posts.map(({ body }) => body)).toEqual(['power 50000', 'volume 50000']);
    edge.link.post('status', 'power off', { conflateKey: 'power' });
    await clock.advance(500);
    expect(master.posts.at(-1)?.body).toBe('power off');
    expect(edge.metrics.read('holdfast_link_dropped_total', { peer: 'master' })).toBe(0);
  });

  it('holds a bounded amount for a peer that never reads, and counts what it drops', async () => {
    const { edge, clock, connect } = createLinkPair();
    const pipe = await connect();
    pipe.edge.flow = 'stalled';
    for (let i = 0; i < 50_000; i += 1) edge.link.post('ready', 'x'.repeat(1_000));
    expect(pipe.edge.maxBuffered).toBeLessThan(limits.socketBytes + 2_000);
    const kept = frames(pipe.edge.sent, 'post') + limits.resumeBufferFrames;
    expect(edge.metrics.read('holdfast_link_dropped_total', { peer: 'master' })).toBe(50_000 - kept);
    await expect(edge.link.request('exec', 1, asking())).rejects.toMatchObject({ code: 'LINK_BUSY' });
    await clock.advance(3_000);
    expect(edge.downs).toMatchObject([{ reason: 'silent' }]);
  });

  it('holds a bounded amount in bytes as well, whether there is a line or not', async () => {
    const { edge, clock, connect } = createLinkPair();
    const pipe = await connect();
    const dropped = (): number => edge.metrics.read('holdfast_link_dropped_total', { peer: 'master' });
    pipe.edge.send('x'.repeat(limits.socketBytes));
    pipe.edge.flow = 'stalled';
    pipe.edge.send('x'.repeat(limits.socketBytes));
    const megabyte = 'x'.repeat(1024 * 1024 - 2);
    for (let i = 0; i < 20; i += 1) edge.link.post('ready', megabyte);
    expect(dropped()).toBe(4);
    await expect(edge.link.request('exec', megabyte, asking())).rejects.toMatchObject({ code: 'LINK_BUSY' });
    pipe.reset();
    for (let i = 0; i < 20; i += 1) edge.link.post('status', megabyte, { conflateKey: `key ${i}` });
    expect(dropped()).toBe(24);
    await clock.advance(limits.resumeWindowMs);
    expect(dropped()).toBe(24 + 16);
  });

  it('closes a peer that asks and asks but does not read the answers', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    const pipe = await connect();
    pipe.master.flow = 'stalled';
    pipe.master.send('x'.repeat(limits.socketBytes));
    for (let i = 1; i <= limits.resumeBufferFrames + 1; i += 1) {
      pipe.edge.send(JSON.stringify({ t: 'request', seq: i, ack: 0, id: i, kind: 'nonsense', body: i, ep: null, ttl: 1_000 }));
    }
    await clock.advance(100);
    expect(master.downs).toMatchObject([{ reason: 'does-not-read' }]);
    expect(edge.calls).toEqual([]);
  });
});

describe('the fence of the link', () => {
  const refusals = (side: LinkSide): number => side.metrics.read('holdfast_fencing_refusals_total', { fence: 'link' });
  const request = (fields: Record<string, Json>): string =>
    JSON.stringify({ t: 'request', seq: 1, ack: 0, id: 1, kind: 'exec', body: 1, ep: epoch(4), ttl: 1_000, ...fields });

  it('refuses and counts a stale epoch in requests, posts and orders', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    await connect();
    edge.floor = epoch(2);
    master.floor = epoch(3);
    const command = watchOutcome(edge.link.request('exec', 1, asking()));
    edge.link.post('status', 1);
    await clock.advance(20);
    expect(command.outcome).toEqual({ code: 'STALE_EPOCH' });
    expect([master.calls, master.posts]).toEqual([[], []]);
    expect(refusals(master)).toBe(2);
    edge.floor = epoch(4);
    master.link.sendControl(1, { t: 'control.release', negotiation: 1, epoch: epoch(3), reason: 'test' });
    await clock.advance(20);
    expect(edge.control.map(({ t }) => t)).toEqual(['negotiate']);
    expect(refusals(edge)).toBe(1);
  });

  it('lets the present and a newer epoch pass', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    await connect();
    master.floor = epoch(3);
    for (const number of [3, 4]) {
      edge.floor = epoch(number);
      const command = watchOutcome(edge.link.request('exec', number, asking()));
      await clock.advance(20);
      expect(command.outcome).toEqual({ value: number });
    }
    expect(refusals(master)).toBe(0);
  });

  it('refuses and counts a missing epoch where one is needed', async () => {
    const { master, clock, connect } = createLinkPair();
    const pipe = await connect();
    pipe.edge.send(request({ ep: null }));
    await clock.advance(20);
    expect(master.calls).toEqual([]);
    expect(refusals(master)).toBe(1);
    expect(pipe.master.sent.at(-1)).toContain('EPOCH_MISSING');
  });

  it('lets claims pass whatever their epoch', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    await connect();
    master.floor = epoch(9);
    edge.link.sendControl(1, { t: 'control.released', negotiation: 1, epoch: EPOCH_ZERO, reason: 'test', snapshot: null });
    edge.link.sendControl(1, { t: 'control.claimed', negotiation: 1, epoch: EPOCH_ZERO });
    await clock.advance(20);
    expect(master.control.map(({ t }) => t)).toEqual(['hello', 'control.released', 'control.claimed']);
    expect(refusals(master)).toBe(0);
  });

  it('answers an unknown type, kind or post and logs each once', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    const pipe = await connect();
    for (let seq = 1; seq <= 3; seq += 1) {
      pipe.edge.send('{"t":"teleport","to":"mars"}');
      pipe.edge.send(request({ seq: 2 * seq - 1, kind: 'teleport-kind' }));
      pipe.edge.send(JSON.stringify({ t: 'post', seq: 2 * seq, ack: 0, type: 'teleport-post', body: 1, ep: null }));
    }
    await clock.advance(20);
    const unknown = master.log.lines.filter(({ event }) => event === 'unknown-type').map(({ facts }) => facts);
    expect(unknown).toEqual(['teleport', 'teleport-kind', 'teleport-post'].map((type) => ({ peer: 'edge-1', type })));
    expect(pipe.master.sent.filter((text) => text === '{"t":"error","code":"UNKNOWN_TYPE","about":"teleport"}').length).toBe(3);
    expect(pipe.master.sent.filter((text) => text.includes('"re":1') && text.includes('UNKNOWN_TYPE')).length).toBe(3);
    expect([edge.link.state, master.link.state]).toEqual(['open', 'open']);
  });

  it('cuts off a peer that floods heartbeats, and answers its unknown types no more', async () => {
    const { edge, master, clock, connect } = createLinkPair();
    const pipe = await connect();
    const heartbeat = '{"t":"hb","n":1,"ack":0}';
    const answers = (): number => frames(pipe.master.sent, 'hba') + frames(pipe.master.sent, 'error');
    for (let second = 0; second < 20; second += 1) {
      for (let i = 1; i < limits.socketPingsPerSecond; i += 1) pipe.edge.send(heartbeat);
      await clock.advance(1_000);
    }
    expect([edge.downs, master.downs]).toEqual([[], []]);
    for (let i = 0; i < limits.socketPingBurst; i += 1) pipe.edge.send('{"t":"teleport","to":"mars"}');
    await clock.advance(20);
    const before = answers();
    for (let i = 0; i < 1_000; i += 1) pipe.edge.send('{"t":"teleport","to":"mars"}');
    await clock.advance(20);
    expect(answers() - before).toBeLessThanOrEqual(1);
    expect(master.downs).toEqual([]);
    for (let i = 0; i < 1_000; i += 1) pipe.edge.send(heartbeat);
    await clock.advance(20);
    expect(master.downs).toMatchObject([{ reason: 'heartbeat-flood' }]);
    expect(answers() - before).toBeLessThanOrEqual(1);
  });

  it.each([
    ['not JSON', 'not json', 'invalid-frame'],
    ['no type', '{}', 'invalid-frame'],
    ['a wrong field', '{"t":"request","seq":-1}', 'invalid-frame'],
    ['a wrong epoch', '{"t":"cancel","seq":1,"ack":0,"re":1,"ep":{"generation":1,"number":"2"}}', 'invalid-frame'],
    ['an operator without a name', '{"t":"cancel","seq":1,"ack":0,"re":1,"by":{"who":"token"}}', 'invalid-frame'],
    ['an epoch that no location reaches', `{"t":"cancel","seq":1,"ack":0,"re":1,"ep":{"generation":1,"number":${HIGHEST_EPOCH + 1}}}`, 'invalid-frame'],
    ['a claim of such an epoch', `{"t":"control.claimed","negotiation":1,"epoch":{"generation":${HIGHEST_EPOCH + 1},"number":2}}`, 'invalid-frame'],
    ['a wrong control message', '{"t":"control.claimed","negotiation":"1"}', 'invalid-frame'],
    ['a hand-over with a name that no driver may have', `{"t":"control.released","negotiation":1,"epoch":{"generation":1,"number":2},"reason":"","snapshot":` +
      `{"status":[{"module":"m","key":"${'k'.repeat(limits.nameLength + 1)}","value":1}],"handover":{},"triggers":[]}}`, 'invalid-frame'],
    ['a type that is no word', `{"t":"${'x'.repeat(101)}"}`, 'invalid-frame'],
    ['a request of a kind that is no word', `{"t":"request","seq":1,"ack":0,"id":1,"kind":"${'x'.repeat(101)}","body":1,"ttl":1}`, 'invalid-frame'],
    ['a post of a type that is no word', `{"t":"post","seq":1,"ack":0,"type":"${'x'.repeat(101)}","body":1}`, 'invalid-frame'],
    ['an error about what is no word', `{"t":"error","code":"UNKNOWN_TYPE","about":"${'x'.repeat(101)}"}`, 'invalid-frame'],
    ['a part of a body that says nothing', '{"t":"part","seq":1,"ack":0,"of":"request","at":0,"text":""}', 'invalid-frame'],
    ['what only the receiver says', '{"t":"control.renegotiate","negotiation":1,"epoch":{"generation":1,"number":2},"reason":""}', 'wrong-side'],
  ])('closes on %s', async (_, text, reason) => {
    const { edge, master, clock, connect } = createLinkPair();
    const pipe = await connect();
    pipe.edge.send(text);
    await clock.advance(30);
    expect(master.downs).toMatchObject([{ reason }]);
    expect(edge.downs).toMatchObject([{ reason }]);
    expect(master.control.length).toBe(1);
    expect(master.metrics.read('holdfast_link_refused_total', { reason: 'invalid-frame' })).toBe(reason === 'invalid-frame' ? 1 : 0);
  });

  it.each([
    [[2, 3], 'version'],
    [[0, 0], 'version'],
    [[0, 1], null],
    [[1, 2], null],
  ])('judges the version range %j of a peer', async (v, reason) => {
    const { master, clock, connect } = createLinkPair({ master: {} });
    const pipe = await connect();
    pipe.reset();
    const again = createPipe(clock);
    master.link.attach(again.master);
    const session = { v, boot: 'other', peerBoot: '', id: '', received: 0, resumed: false };
    again.edge.send(JSON.stringify({ t: 'hello', negotiation: 2, epoch: EPOCH_ZERO, state: 'standby', held: [], session }));
    await clock.advance(20);
    expect(again.master.closedReason).toBe(reason);
    expect(master.link.state).toBe(reason === null ? 'open' : 'down');
  });
});
