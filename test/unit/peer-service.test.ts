import { describe, expect, it } from 'vitest';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { limits } from '../../src/shared/model/limits.ts';
import type { ModuleLogLine } from '../../src/shared/ports/device-link.ts';
import type { CommandDesk } from '../../src/shared/runtime/commands/command-desk.ts';
import { ModuleLines } from '../../src/shared/runtime/commands/module-lines.ts';
import { hearLine, PeerService } from '../../src/shared/runtime/peer/peer-service.ts';
import { PeerSubscriptions } from '../../src/shared/runtime/peer/peer-subscriptions.ts';
import { StatusBoard } from '../../src/shared/runtime/status/status-board.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { later } from '../support/link-pipe.ts';
import { createMemoryLog } from '../support/memory-log.ts';

const target = { location: 'berlin', module: 'mod-1' };
const context = { signal: new AbortController().signal, deadlineMs: 10_000 };

/** What a node answers on the link of `berlin`; `say` speaks for its driver, `posts` is what went to the peer. */
function createService(
  passesOn: boolean,
  run = async (_: { renamed(id: string): void }): Promise<object> => ({ value: 1, servedBy: 'lisbon' }),
  elsewhere: PeerSubscriptions | null = null,
) {
  const clock = new FakeClock();
  const log = createMemoryLog();
  const posts: { type: string; body: Json }[] = [];
  const drivers = new Set<(line: ModuleLogLine) => void>();
  const deviceLink = { onLog: (listener: (line: ModuleLogLine) => void) => (drivers.add(listener), () => void drivers.delete(listener)) };
  const served: object[] = [];
  // Of the desk only what a relay needs.
  const desk = {
    target: (id: string) => ({ module: id, location: 'lisbon' }),
    serve: async (call: object, how: { renamed(id: string): void }) => (served.push({ ...call, ...how }), await run(how)),
    modules: {
      serveWanted: async (request: object, location: string) => (served.push({ ...request, location }), { changed: 1, modules: 2 }),
      serve: async (call: { modules: string[] }, _: AbortSignal, forward: boolean) => (served.push({ ...call, forward }), { modules: call.modules, servedBy: 'lisbon' }),
      serveExpire: async (call: object, _: AbortSignal, forward: boolean) => (served.push({ ...call, forward }), ['master-1']),
    },
    serveTrigger: async (call: object) => (served.push(call), 'webhook-called'),
    drivers: {
      serve: async (call: object, _: AbortSignal, forward: boolean) => {
        served.push({ ...call, forward });
        return { modules: [{ module: 'mod-2', problem: null, pausedMs: 3 }], servedBy: 'lisbon' };
      },
    },
  } as unknown as CommandDesk;
  const lines = new ModuleLines({ nodeId: 'berlin', clock, deviceLink, peerOf: () => elsewhere, isElsewhere: () => elsewhere !== null });
  const board = new StatusBoard(createPromMetrics());
  const post = (type: string, body: Json): void => void posts.push({ type, body });
  /** How long the values of `lisbon` stand still here; null: they do not. */
  const staleness: { ageMs: number | null; changed(location: string): void } = { ageMs: null, changed: () => undefined };
  const onChange = (listener: (location: string) => void) => ((staleness.changed = listener), () => undefined);
  const freshness = { ageMs: (location: string) => (location === 'lisbon' ? staleness.ageMs : null), onChange };
  const service = new PeerService({ location: 'berlin', peer: 'other', passesOn, clock, log, desk, board, lines, freshness, post });
  const say = (message: string): void => {
    for (const listener of drivers) listener({ ...target, level: 'info', message });
  };
  return { clock, log, posts, drivers, lines, board, staleness, served, service, say };
}

describe('log lines over a link', () => {
  it('are so many a second, then the number of those that were dropped, until they are ignored', async () => {
    const { clock, posts, drivers, service, say } = createService(false);
    await service.request('debug', target, context);
    for (let i = 0; i < limits.linkLinesPerSecond + 50; i += 1) say(`line ${i}`);
    expect(posts.length).toBe(limits.linkLinesPerSecond);
    expect(posts[0]).toEqual({ type: 'log', body: { ...target, level: 'info', message: 'line 0', node: 'berlin' } });
    await clock.advance(limits.linkLinesNoticeMs);
    expect(posts.slice(limits.linkLinesPerSecond)).toMatchObject([{ body: { level: 'warn', message: '50 lines dropped' } }]);
    say('again');
    expect(posts.at(-1)).toMatchObject({ body: { message: 'again' } });
    await service.request('ignore', target, context);
    expect([drivers.size, clock.pendingTimers]).toEqual([0, 0]);
  });

  it('are promised once whoever drives the module tells them here, or does not answer in time', async () => {
    let placed = (): void => undefined;
    const request = () => new Promise<Json>((resolve) => (placed = () => resolve(null)));
    const onward = (): PeerSubscriptions => new PeerSubscriptions({ clock: new FakeClock(), log: createMemoryLog(), isOpen: () => true, request });
    for (const isHeard of [true, false]) {
      const { clock, service } = createService(true, undefined, onward());
      let isAnswered = false;
      void service.request('debug', target, context).then(() => (isAnswered = true));
      await clock.advance(limits.debugAnswerMs - 1);
      expect(isAnswered).toBe(false);
      if (isHeard) placed();
      await clock.advance(isHeard ? 0 : 1);
      expect([isAnswered, clock.pendingTimers]).toEqual([true, 0]);
    }
  });

  it('end with the session', async () => {
    const { drivers, service } = createService(false);
    await service.request('debug', target, context);
    service.ended();
    expect(drivers.size).toBe(0);
  });

  it('that nobody asked for are not heard, and those that no driver may have are refused', () => {
    const { lines } = createService(false);
    const subscriptions = new PeerSubscriptions({ clock: new FakeClock(), log: createMemoryLog(), isOpen: () => true, request: async () => null });
    const heard: string[] = [];
    const { stop } = lines.listen(target, ({ message, node }) => void heard.push(`${node}: ${message}`));
    const line = { ...target, level: 'info', message: 'hello', node: 'elsewhere' };
    hearLine(line, { lines, subscriptions });
    subscriptions.hold('debug', target);
    hearLine(line, { lines, subscriptions, node: 'lisbon' });
    stop();
    expect(heard).toEqual(['lisbon: hello']);
    expect(() => hearLine({ ...line, message: 'x'.repeat(4 * limits.logLineBytes + 1) }, { lines, subscriptions })).toThrow('message');
    expect(() => hearLine({ ...line, level: 'loud' }, { lines, subscriptions })).toThrow('level');
  });
});

describe('values of another location that a peer watches', () => {
  const watch = (module: string) => ({ location: 'lisbon', module });

  it('come with the word that they stand still, before the first of them, and with each change of that', async () => {
    const { board, posts, service, staleness } = createService(true);
    board.set({ ...watch('mod-2'), key: 'power', value: true, epoch: { generation: 0, number: 2 } });
    staleness.ageMs = 5_000;
    await service.request('watch', watch('mod-2'), context);
    expect(posts).toMatchObject([{ type: 'staleness', body: { location: 'lisbon', ageMs: 5_000 } }, { type: 'watched', body: { value: true } }]);
    staleness.ageMs = null;
    for (const location of ['lisbon', 'porto']) staleness.changed(location);
    expect(posts.slice(2)).toEqual([{ type: 'staleness', body: { location: 'lisbon', ageMs: null } }]);
  });

  it('are said to be fresh once for all of them, and again when the link carries messages again', async () => {
    const { posts, service } = createService(true);
    for (const module of ['mod-2', 'mod-3']) await service.request('watch', watch(module), context);
    expect(posts).toEqual([{ type: 'staleness', body: { location: 'lisbon', ageMs: null } }]);
    service.opened();
    expect(posts).toHaveLength(2);
  });

  it('bring no word any more once none of them is watched, or the session is over', async () => {
    const { posts, service, staleness } = createService(true);
    // The peer does not know yet that one of them has moved to `lisbon`.
    const moved = { location: 'porto', module: 'mod-2' };
    for (const target of [moved, watch('mod-3')]) await service.request('watch', target, context);
    await service.request('unwatch', moved, context);
    staleness.changed('lisbon');
    expect(posts).toHaveLength(2);
    await service.request('unwatch', watch('mod-3'), context);
    staleness.changed('lisbon');
    expect(posts).toHaveLength(2);
    await service.request('watch', watch('mod-2'), context);
    service.ended();
    posts.length = 0;
    staleness.changed('lisbon');
    service.opened();
    expect(posts).toEqual([]);
  });

  it('say how old they are also to who asks for them once', async () => {
    const { service, staleness } = createService(true);
    staleness.ageMs = 5_000;
    expect(await service.request('status', watch('mod-2'), context)).toMatchObject({ values: {}, ageMs: 5_000 });
  });
});

describe('what a peer may ask', () => {
  const body = { location: 'lisbon', module: 'mod-2', method: 'on', args: [], user: 'anna', entry: 'berlin', requestId: 'r' };

  it('an edge answers for its own location only, and passes nothing on', async () => {
    const { service } = createService(false);
    await expect(service.request('relay', body, context)).rejects.toMatchObject({ code: 'UNKNOWN_TYPE' });
    for (const kind of ['exec', 'status', 'functions', 'watch', 'debug'] as const) {
      const asked = kind === 'exec' ? body : { location: 'lisbon', module: 'mod-2' };
      await expect(service.request(kind, asked, context)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    }
  });

  it('calls of webhooks are for triggers of the location of the link, at both ends', async () => {
    for (const passesOn of [false, true]) {
      const { served, service } = createService(passesOn);
      const call = { location: 'berlin', instance: 'trigger-1~sys-1', call: 'r' };
      await expect(service.request('trigger', { ...call, location: 'lisbon' }, context)).rejects.toMatchObject({ code: 'FORBIDDEN' });
      expect(served).toEqual([]);
      expect(await service.request('trigger', call, context)).toBe('webhook-called');
      expect(served).toEqual([call]);
    }
  });

  it('an edge changes documents of its own location only, and of others it unloads single modules; all of it is audited', async () => {
    const { log, served, service } = createService(true);
    const asked = { user: 'anna', who: 'key-anna', entry: 'berlin', requestId: 'r' };
    const wanted = { what: 'system', id: 'sys-1', running: false, dryRun: false, ...asked };
    expect(await service.request('wanted', wanted, context)).toEqual({ changed: 1, modules: 2 });
    const unload = { location: 'lisbon', action: 'unload', modules: ['mod-2'], ...asked };
    expect(await service.request('modules', unload, context)).toEqual({ modules: ['mod-2'], servedBy: 'lisbon' });
    const expire = { location: 'berlin', system: 'sys-1', ...asked };
    expect(await service.request('expire', expire, context)).toEqual(['master-1']);
    expect(served).toMatchObject([{ ...wanted, location: 'berlin' }, { ...unload, forward: true }, { ...expire, forward: false }]);
    for (const [kind, body] of [
      ['wanted', { ...wanted, entry: 'lisbon' }],
      ['modules', { ...unload, entry: 'lisbon' }],
      ['modules', { ...unload, action: 'cancel' }],
      ['modules', { ...unload, modules: ['mod-2', 'mod-3'] }],
      ['expire', { ...expire, entry: 'lisbon' }],
    ] satisfies ['wanted' | 'modules' | 'expire', Json][]) {
      await expect(service.request(kind, body, context), JSON.stringify(body)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    }
    const audited = log.lines.flatMap(({ event, facts }) => (event === 'audit' ? [facts] : []));
    expect(audited).toMatchObject([
      { what: 'wanted', who: 'key-anna', user: 'anna', via: 'other', location: 'berlin', module: 'sys-1', method: 'stop', result: 'ok' },
      { what: 'modules', who: 'key-anna', module: 'mod-2', method: 'unload', servedBy: 'lisbon' },
      { what: 'expire', who: 'key-anna', module: 'sys-1' },
    ]);
    const atEdge = createService(false).service;
    await expect(atEdge.request('wanted', wanted, context)).rejects.toMatchObject({ code: 'UNKNOWN_TYPE' });
    await expect(atEdge.request('modules', unload, context)).rejects.toMatchObject({ code: 'FORBIDDEN' });
  });

  it('no code is taken from an edge; what was tried may be taken back', async () => {
    const { served, service } = createService(true);
    const asked = { location: 'lisbon', driver: 'lamp', module: null, user: 'anna', entry: 'berlin', requestId: 'r' };
    const edit = { file: 'lamp.ts', content: 'x' };
    const live = { edit, modules: [], by: 'anna' };
    await expect(service.request('reload', { ...asked, live }, context)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect(served).toEqual([]);
    await service.request('reload', { ...asked, live: { ...live, edit: null } }, context);
    const atEdge = createService(false);
    await atEdge.service.request('reload', { ...asked, location: 'berlin', entry: 'master-1', live }, context);
    expect([served, atEdge.served]).toMatchObject([[{ live: { edit: null } }], [{ live, forward: false }]]);
    for (const bad of [{ ...edit, file: '../lamp.ts' }, { ...edit, file: '/etc/passwd' }, { ...edit, content: 'é'.repeat(limits.inlineEditBytes / 2 + 1) }]) {
      const body = { ...asked, location: 'berlin', live: { ...live, edit: bad } };
      await expect(atEdge.service.request('reload', body, context), bad.file).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    }
  });

  it('an edge has what it serves on record: commands in its log, what changes modules in the audit', async () => {
    const { log, service } = createService(false);
    const here = { ...body, location: 'berlin' };
    await service.request('exec', here, context);
    const reload = { location: 'berlin', driver: 'lamp', module: null, user: 'bob', entry: 'master-1', requestId: 'r' };
    await service.request('reload', reload, context);
    const served = { user: 'anna', via: 'other', location: 'berlin', module: 'mod-2', method: 'on', requestId: 'r' };
    expect(log.lines).toEqual([
      { level: 'info', event: 'command-served', facts: { what: 'exec', ...served, result: 'ok', servedBy: 'lisbon' } },
      { level: 'info', event: 'audit', facts: { what: 'reload', ...served, user: 'bob', module: 'lamp', method: 'reload', result: 'ok', servedBy: 'lisbon' } },
    ]);
    expect(JSON.stringify(log.lines)).not.toContain('args');
  });

  it('a node of before, that does not say whose credential it was, is served all the same', async () => {
    const { log, service } = createService(true);
    for (const who of [undefined, 'key-anna']) {
      await service.request('relay', { ...body, ...(who === undefined ? {} : { who }) }, context);
      expect(log.lines.at(-1)).toMatchObject({ event: 'command', facts: { what: 'relay', user: 'anna', who } });
    }
  });

  it('an operator who cancelled a command further on is on record where it passed, with their credential', async () => {
    const facts = { by: 'olga', fate: 'unknown', who: 'token-olga' };
    const { log, service } = createService(true, async () => Promise.reject(new HoldfastError('COMMAND_CANCELLED', facts)));
    await expect(service.request('relay', body, context)).rejects.toMatchObject({ code: 'COMMAND_CANCELLED' });
    const cancelledBy = { user: 'olga', who: 'token-olga' };
    expect(log.lines).toMatchObject([{ event: 'command', facts: { user: 'anna', result: 'COMMAND_CANCELLED', cancelledBy } }]);
  });

  it('an edge has on record what failed too', async () => {
    const { log, service } = createService(false, async () => Promise.reject(new HoldfastError('DEVICE_OFFLINE', { module: 'mod-2' })));
    await expect(service.request('exec', { ...body, location: 'berlin' }, context)).rejects.toMatchObject({ code: 'DEVICE_OFFLINE' });
    expect(log.lines).toMatchObject([{ level: 'info', event: 'command-served', facts: { user: 'anna', result: 'DEVICE_OFFLINE', servedBy: null } }]);
  });

  it('a master relays for users of that edge only, and audits it', async () => {
    const { log, served, service } = createService(true);
    await expect(service.request('relay', { ...body, entry: 'lisbon' }, context)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect(await service.request('relay', body, context)).toEqual({ value: 1, servedBy: 'lisbon' });
    expect(served).toMatchObject([{ user: 'anna', requestId: 'r', deadlineMs: 10_000, via: 'other', forward: true }]);
    expect(JSON.stringify(log)).toContain('relay');
    await expect(service.request('exec', body, context)).rejects.toMatchObject({ code: 'FORBIDDEN' });
  });

  it('a command that runs under an id of its own is on record under that one', async () => {
    for (const [passesOn, kind, location, event] of [[true, 'relay', 'lisbon', 'command'], [false, 'exec', 'berlin', 'command-served']] as const) {
      const { log, service } = createService(passesOn, async ({ renamed }) => (renamed('r-2'), { value: 1, servedBy: 'lisbon' }));
      await service.request(kind, { ...body, location }, context);
      expect(log.lines).toMatchObject([{ event, facts: { requestId: 'r-2', result: 'ok' } }]);
    }
  });

  it('what is refused on the way is on record apart', async () => {
    const refused = () => Promise.reject(new HoldfastError('FORBIDDEN', { needs: 'a command for lisbon' }));
    const { log, service } = createService(true, refused);
    await expect(service.request('relay', body, context)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect(log.lines).toMatchObject([{ event: 'refused', facts: { what: 'relay', user: 'anna', result: 'FORBIDDEN' } }]);
  });

  it('reloads are for users of that edge and audited by a master, which passes them on; an edge serves its own location', async () => {
    const reload = { location: 'lisbon', driver: 'lamp', module: null, user: 'anna', entry: 'berlin', requestId: 'r' };
    const answer = { modules: [{ module: 'mod-2', problem: null, pausedMs: 3 }], servedBy: 'lisbon' };
    const master = createService(true);
    await expect(master.service.request('reload', { ...reload, entry: 'lisbon' }, context)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect(await master.service.request('reload', reload, context)).toEqual(answer);
    await master.service.request('reload', { ...reload, location: 'berlin' }, context);
    expect(master.served).toMatchObject([{ driver: 'lamp', deadlineMs: 10_000, forward: true }, { location: 'berlin', forward: false }]);
    expect(master.log.lines).toMatchObject([{ event: 'audit', facts: { what: 'reload', user: 'anna', via: 'other', location: 'lisbon', module: 'lamp', result: 'ok' } }, {}]);
    const edge = createService(false);
    await expect(edge.service.request('reload', reload, context)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect(await edge.service.request('reload', { ...reload, location: 'berlin', entry: 'anybody' }, context)).toEqual(answer);
    expect(edge.served).toMatchObject([{ forward: false }]);
  });

  it('is told no when it is malformed', async () => {
    const { service } = createService(true);
    await expect(service.request('relay', { ...body, args: 1 }, context)).rejects.toMatchObject({ code: 'INPUT_INVALID', facts: { field: 'args' } });
    await expect(service.request('watch', null, context)).rejects.toMatchObject({ code: 'INPUT_INVALID' });
  });
});

describe('subscriptions', () => {
  const setUp = () => {
    const clock = new FakeClock();
    const asked: string[] = [];
    const world = { open: true, answer: async (): Promise<Json> => null };
    const released: string[] = [];
    const subscriptions = new PeerSubscriptions({
      clock,
      log: createMemoryLog(),
      isOpen: () => world.open,
      request: (kind) => (asked.push(kind), world.answer()),
      released: (topic) => void released.push(topic),
    });
    return { clock, asked, world, released, subscriptions };
  };

  it('are placed once however many hold them, and taken back with the last', async () => {
    const { clock, asked, released, subscriptions } = setUp();
    const answered: number[] = [];
    const first = subscriptions.hold('watch', target, () => void answered.push(1));
    const second = subscriptions.hold('watch', target, () => void answered.push(2));
    expect(answered).toEqual([]);
    await clock.advance(0);
    expect(answered).toEqual([1, 2]);
    first();
    first();
    expect([asked, released]).toEqual([['watch'], []]);
    second();
    await clock.advance(0);
    expect([asked, released]).toEqual([['watch', 'unwatch'], ['watch']]);
  });

  it('are placed when the link opens, and anew in each session', async () => {
    const { clock, asked, world, subscriptions } = setUp();
    world.open = false;
    subscriptions.hold('debug', target);
    await clock.advance(0);
    expect(asked).toEqual([]);
    world.open = true;
    subscriptions.opened();
    await clock.advance(0);
    subscriptions.opened();
    expect(asked).toEqual(['debug']);
    world.open = false;
    subscriptions.ended();
    world.open = true;
    subscriptions.opened();
    await clock.advance(0);
    expect(asked).toEqual(['debug', 'debug']);
  });

  it('of lines are answered in the present session only, for who is told of an old one misses lines; values that came are known', async () => {
    const { clock, world, subscriptions } = setUp();
    const answered: string[] = [];
    const hold = (topic: 'watch' | 'debug', name: string) => subscriptions.hold(topic, target, () => void answered.push(name));
    hold('watch', 'values');
    hold('debug', 'lines');
    await clock.advance(0);
    world.open = false;
    subscriptions.ended();
    hold('watch', 'more values');
    hold('debug', 'more lines');
    expect(answered).toEqual(['values', 'lines', 'more values']);
    world.open = true;
    subscriptions.opened();
    await clock.advance(0);
    expect(answered.slice(3)).toEqual(['lines', 'more lines']);
  });

  it('change their mind while the answer is under way: what is wanted last is what the peer has', async () => {
    const { clock, asked, world, subscriptions } = setUp();
    const answer = later<Json>();
    world.answer = () => answer.promise;
    const letGo = subscriptions.hold('watch', target);
    letGo();
    expect(asked).toEqual(['watch']);
    answer.resolve(null);
    await clock.advance(0);
    expect(asked).toEqual(['watch', 'unwatch']);
  });

  it('that were refused are tried again', async () => {
    const { clock, asked, world, subscriptions } = setUp();
    world.answer = () => Promise.reject(new HoldfastError('LINK_BUSY', { limit: 1 }));
    subscriptions.hold('watch', target);
    await clock.advance(0);
    world.answer = async () => null;
    await clock.advance(limits.subscriptionRetryMs);
    expect(asked).toEqual(['watch', 'watch']);
    expect(clock.pendingTimers).toBe(0);
  });
});
