import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/shared/model/limits.ts';
import { HoldfastError, nestedError } from '../../src/shared/model/errors.ts';
import { openSession } from '../../src/client-sdk/session.ts';
import { EDGE, MASTER, power, SessionWorld } from '../support/session-world.ts';

let world: SessionWorld;
beforeEach(() => {
  world = new SessionWorld();
});
afterEach(() => world.session?.close());
const settledAs = (promise: Promise<unknown>): { is: unknown } => {
  const seen: { is: unknown } = { is: 'open' };
  promise.then((value) => (seen.is = value), (error: unknown) => (seen.is = error instanceof HoldfastError ? [error.code, error.facts['fate']] : error));
  return seen;
};
const run = { ...power, name: 'run' };

describe('where a session is', () => {
  it('connects, binds, and says who serves, since when, and that nothing is stale', async () => {
    world.edge.value = true;
    await world.start();
    expect(world.values).toEqual([true]);
    expect(world.session?.state).toEqual({ origin: EDGE, servedBy: 'edge', sinceMs: world.clock.wallMs(), stale: false, staleSinceMs: null, problem: null });
    expect(world.states[0]).toMatchObject({ origin: null, servedBy: null, stale: true });
  });

  it('learns the members from the server, and goes to another one when this one is gone', async () => {
    await world.start();
    world.edge.mode = 'refuses';
    world.edge.socket.end('closed: 1006');
    await world.clock.advance(0);
    expect(world.dialled).toEqual([EDGE, EDGE, MASTER]);
    expect(world.session?.state).toMatchObject({ origin: MASTER, servedBy: 'master', stale: false, problem: null });
    expect(world.states.map(({ origin, stale }) => [origin, stale])).toContainEqual([null, true]);
  });

  it('begins the next run with the last good one, and knows the others already', async () => {
    world.edge.mode = 'refuses';
    await world.start({ origins: [EDGE, MASTER] });
    world.session?.close();
    world.dialled.length = 0;
    world.edge.mode = 'up';
    world.master.mode = 'refuses';
    await world.start({ origins: [EDGE] });
    expect(world.dialled).toEqual([MASTER, EDGE]);
  });

  it('starts without what it cannot read', async () => {
    world.stored.push('{"lastGood": 7');
    await world.start();
    expect(world.session?.state.origin).toBe(EDGE);
  });

  it('notices within seconds that a socket is dead although nobody said so', async () => {
    await world.start();
    world.edge.mode = 'mute';
    await world.clock.advance(limits.sdkSilentMs);
    expect(world.session?.state).toMatchObject({ stale: true, problem: expect.stringContaining('silent') });
    await world.clock.advance(limits.sdkConnectMs);
    expect(world.session?.state).toMatchObject({ origin: MASTER, stale: false });
  });

  it('says since when values may be old: since the server was last heard from, until all is bound again', async () => {
    const beganMs = world.clock.wallMs();
    world.edge.mode = 'refuses';
    const session = await world.start();
    await world.clock.advance(3_000);
    expect(session.state).toMatchObject({ stale: true, staleSinceMs: beganMs });
    world.edge.mode = 'up';
    await world.clock.advance(limits.sdkRedialMaxMs * 1.5);
    expect(session.state).toMatchObject({ stale: false, staleSinceMs: null });
    world.edge.socket.notify(1);
    const heardMs = world.clock.wallMs();
    world.edge.mode = 'mute';
    world.master.mode = 'refuses';
    await world.clock.advance(limits.sdkSilentMs);
    expect(session.state).toMatchObject({ stale: true, staleSinceMs: heardMs });
    // A server that is tried in vain makes nothing fresh.
    await world.clock.advance(30_000);
    expect(session.state).toMatchObject({ stale: true, staleSinceMs: heardMs });
    world.edge.mode = 'up';
    await world.clock.advance(limits.sdkRedialMaxMs * 1.5 + limits.sdkConnectMs);
    expect(session.state).toMatchObject({ origin: EDGE, stale: false, staleSinceMs: null });
  });

  it('says the same of a binding that its server has not answered', async () => {
    const session = await world.start();
    world.edge.mode = 'mute';
    await world.clock.advance(10);
    session.bind({ ...power, name: 'volume' }, () => undefined);
    expect(session.state).toMatchObject({ origin: EDGE, stale: true, staleSinceMs: world.clock.wallMs() });
  });

  it('says that values are stale whose server does not hear who drives the devices, and since when', async () => {
    const session = await world.start();
    world.edge.socket.stands('berlin', 3_000);
    expect(session.state).toMatchObject({ origin: EDGE, stale: true, staleSinceMs: world.clock.wallMs() - 3_000 });
    world.edge.socket.stands('paris', 9_000);
    world.edge.socket.stands('berlin', null);
    expect(session.state).toMatchObject({ stale: true });
    world.edge.socket.stands('paris', null);
    expect(session.state).toMatchObject({ stale: false, staleSinceMs: null });
    // What stood still at one server need not at the next.
    world.edge.socket.stands('berlin', 3_000);
    world.edge.socket.redirect(MASTER, '0.5');
    await world.clock.advance(10);
    expect(session.state).toMatchObject({ origin: MASTER, stale: false, staleSinceMs: null });
  });

  it('without a binding learns the members of the systems that it commands, and goes to another server too', async () => {
    const session = await openSession(world.platform(), { origins: [EDGE], apiKey: 'key-1.secret' });
    const asked = () => world.edge.asked + world.master.asked;
    await world.clock.advance(0);
    expect(asked()).toBe(0);
    // Each system once.
    for (const system of ['sys-1', 'sys-2', 'sys-3', 'sys-1']) session.exec({ ...power, system, name: 'where' }).catch(() => undefined);
    await world.clock.advance(0);
    expect(asked()).toBe(3);
    world.edge.mode = 'refuses';
    world.edge.socket.end();
    await world.clock.advance(limits.sdkRedialMaxMs);
    expect(session.state.origin).toBe(MASTER);
    session.close();
  });

  it('pauses between rounds, longer each time and no longer than the limit, and comes back', async () => {
    world.edge.mode = 'refuses';
    await world.start();
    await world.clock.advance(60_000);
    const inAMinute = world.dialled.length;
    expect(inAMinute).toBeGreaterThan(10);
    expect(inAMinute).toBeLessThan(20);
    world.edge.mode = 'up';
    await world.clock.advance(limits.sdkRedialMaxMs * 1.5);
    expect(world.session?.state.origin).toBe(EDGE);
  });

  it('refuses a name that is no origin', async () => {
    await expect(world.start({ origins: ['edge.example.org'] })).rejects.toThrow('origins: edge.example.org is no origin');
    await expect(world.start({ origins: [] })).rejects.toThrow('name at least one');
  });
});

describe('redirects', () => {
  it('are followed before the old socket closes: nothing is stale in between, and no value is told twice', async () => {
    world.edge.value = 1;
    world.master.value = 1;
    await world.start();
    const old = world.edge.socket;
    old.redirect(MASTER, '0.5');
    old.notify(2);
    world.master.value = 2;
    await world.clock.advance(0);
    old.notify(3);
    world.master.socket.notify(4);
    expect(world.values).toEqual([1, 2, 4]);
    expect(world.session?.state).toMatchObject({ origin: MASTER, servedBy: 'master', stale: false });
    expect(world.states.slice(world.states.findIndex(({ stale }) => !stale)).map(({ origin }) => origin)).not.toContain(null);
    expect(world.edge.open).toEqual([]);
  });

  it('lead to members only; a new one is asked for at the server that serves', async () => {
    await world.start();
    world.edge.socket.redirect('https://elsewhere.example.org', '0.5');
    await world.clock.advance(10);
    expect([world.session?.state.origin, world.other.sockets.length]).toEqual([EDGE, 0]);
    world.edge.members = { edge: EDGE, master: 'https://elsewhere.example.org' };
    world.edge.socket.redirect('https://elsewhere.example.org', '0.7');
    await world.clock.advance(10);
    expect(world.session?.state.origin).toBe('https://elsewhere.example.org');
  });

  it('never lead from TLS to a server without', async () => {
    world.edge.members = { edge: EDGE, master: 'http://master.example.org' };
    await world.start();
    world.edge.socket.redirect('http://master.example.org', '0.5');
    await world.clock.advance(10);
    expect(world.dialled).toEqual([EDGE]);
  });

  it('are not followed for ever when two servers point at each other: the session stays and is served by proxy', async () => {
    await world.start();
    for (let round = 5; round < 15; round += 1) {
      const [server, other] = world.session?.state.origin === EDGE ? [world.edge, MASTER] : [world.master, EDGE];
      server.socket.redirect(other, `0.${round}`);
      await world.clock.advance(100);
    }
    expect(world.dialled).toEqual([EDGE, MASTER, EDGE]);
    expect(world.session?.state).toMatchObject({ origin: EDGE, stale: false });
  });

  it('of an epoch that is over are not followed', async () => {
    await world.start();
    world.edge.socket.redirect(EDGE, '0.6');
    world.edge.socket.redirect(MASTER, '0.5');
    await world.clock.advance(10);
    expect(world.session?.state.origin).toBe(EDGE);
  });

  it('are not followed while another system is bound that was not sent there', async () => {
    const session = await world.start();
    session.bind({ ...power, system: 'sys-2' }, () => undefined);
    world.edge.socket.redirect(MASTER, '0.5');
    await world.clock.advance(10);
    expect(session.state.origin).toBe(EDGE);
    world.edge.socket.redirect(MASTER, '0.9', 'sys-2');
    await world.clock.advance(10);
    expect(session.state.origin).toBe(MASTER);
  });

  it('to a server that does not answer leave the session where it is', async () => {
    await world.start();
    world.master.mode = 'mute';
    world.edge.socket.redirect(MASTER, '0.5');
    await world.clock.advance(limits.sdkConnectMs * 2);
    expect(world.session?.state).toMatchObject({ origin: EDGE, stale: false });
  });

  it('beyond the limit are followed when the time for them has come', async () => {
    await world.start();
    world.edge.socket.redirect(MASTER, '0.5');
    await world.clock.advance(10);
    world.master.socket.redirect(EDGE, '0.6');
    await world.clock.advance(10);
    world.edge.socket.redirect(MASTER, '0.7');
    await world.clock.advance(limits.sdkMovesWindowMs - 100);
    expect(world.session?.state.origin).toBe(EDGE);
    await world.clock.advance(200);
    expect(world.session?.state.origin).toBe(MASTER);
  });

  it('to a server that does not answer are not counted among the moves', async () => {
    await world.start();
    world.master.mode = 'refuses';
    for (let round = 5; round < 9; round += 1) {
      world.edge.socket.redirect(MASTER, `0.${round}`);
      await world.clock.advance(10);
    }
    world.master.mode = 'up';
    world.edge.socket.redirect(MASTER, '0.9');
    await world.clock.advance(10);
    expect(world.session?.state.origin).toBe(MASTER);
  });

  it('at the stop of a server: the socket may close before the next one is open', async () => {
    await world.start();
    world.edge.socket.redirect(MASTER, '0.4');
    world.edge.socket.end();
    await world.clock.advance(0);
    expect(world.dialled).toEqual([EDGE, MASTER]);
    expect(world.session?.state).toMatchObject({ origin: MASTER, stale: false });
  });
});

describe('values', () => {
  it('that changed while nobody served are told once', async () => {
    world.edge.value = 1;
    await world.start();
    world.edge.value = 2;
    world.edge.socket.end();
    await world.clock.advance(0);
    expect(world.values).toEqual([1, 2]);
    world.edge.socket.end();
    await world.clock.advance(1_000);
    expect(world.values).toEqual([1, 2]);
  });

  it('outlive a server that does not know them yet, for a while', async () => {
    world.edge.value = 1;
    await world.start();
    world.edge.value = null;
    world.edge.socket.end();
    await world.clock.advance(0);
    world.edge.socket.notify(1);
    expect(world.values).toEqual([1]);
    world.edge.socket.end();
    await world.clock.advance(limits.sdkForgetMs + 10);
    expect(world.values).toEqual([1, null]);
  });

  it('do not go back to what a server says that has not heard the newest yet', async () => {
    world.edge.value = 1;
    await world.start();
    world.edge.socket.notify(2, undefined, [0, 2, 1_000]);
    world.edge.socket.redirect(MASTER, '0.2');
    world.master.value = 1;
    await world.clock.advance(0);
    world.master.socket.notify(2, undefined, [0, 2, 1_000]);
    world.master.socket.notify(1, undefined, [0, 2, 1_001]);
    expect(world.values).toEqual([1, 2, 1]);
  });

  it('that a server which is being left has set for a command are told, its older ones are not', async () => {
    world.edge.value = 1;
    const session = await world.start();
    const answer = settledAs(session.exec(run, [2]));
    const old = world.edge.socket;
    // The master has not heard even of this one.
    old.notify(1, undefined, [0, 2, 1_000_000]);
    old.redirect(MASTER, '0.5');
    world.master.value = 1;
    await world.clock.advance(0);
    old.notify(0, undefined, [0, 0, 9]);
    expect(world.values).toEqual([1]);
    // The master never hears of it: the link between the two is down.
    old.notify(2, undefined, [0, 2, 1_000_001]);
    old.say({ id: old.requests.at(-1)?.id, type: 'success', value: 2, meta: {} });
    await world.clock.advance(limits.sdkForgetMs * 2);
    expect([answer.is, session.state.origin, world.values]).toEqual([2, MASTER, [1, 2]]);
    world.master.socket.notify(3, undefined, [0, 3, 1]);
    expect(world.values).toEqual([1, 2, 3]);
  });

  it('that a server which is being left tells first are told once, and in order', async () => {
    world.edge.value = 1;
    const session = await world.start();
    session.exec(run, [2]).catch(() => undefined);
    const old = world.edge.socket;
    old.redirect(MASTER, '0.5');
    world.master.value = 1;
    await world.clock.advance(0);
    for (const [at, revision] of [[old, 101], [old, 102], [world.master.socket, 101], [world.master.socket, 102]] as const) at.notify(revision, undefined, [0, 2, revision]);
    expect(world.values).toEqual([1, 101, 102]);
    // It has caught up: what it says is so, whatever that was before.
    world.master.socket.notify(7, undefined, [0, 2, 50]);
    expect(world.values).toEqual([1, 101, 102, 7]);
  });

  it('are what the server says that did not catch up in time', async () => {
    world.edge.value = 1;
    await world.start();
    world.edge.socket.notify(2, undefined, [0, 2, 1_000]);
    world.edge.socket.end();
    await world.clock.advance(limits.sdkForgetMs - 10);
    expect(world.values).toEqual([1, 2]);
    await world.clock.advance(20);
    expect(world.values).toEqual([1, 2, 1]);
  });

  it('go to each listener, and end with the last one', async () => {
    world.edge.value = 1;
    const session = await world.start();
    const seen: unknown[] = [];
    const stop = session.bind(power, (value) => void seen.push(value));
    world.edge.socket.notify(2);
    stop();
    stop();
    world.edge.socket.notify(3);
    expect([world.values, seen]).toEqual([[1, 2, 3], [1, 2]]);
    expect(world.edge.socket.requests.map(({ cmd }) => cmd)).toEqual(['bind']);
    session.bind({ ...power, name: 'volume' }, () => undefined)();
    expect(world.edge.socket.requests.map(({ cmd }) => cmd)).toEqual(['bind', 'bind', 'unbind']);
  });
});

describe('commands', () => {
  it('wait for a server, and are answered', async () => {
    world.edge.mode = 'refuses';
    const session = await world.start();
    const answer = settledAs(session.exec(run, [1]));
    world.edge.mode = 'up';
    await world.clock.advance(1_000);
    const [request] = world.edge.socket.requests.filter(({ cmd }) => cmd === 'exec');
    world.edge.socket.say({ id: request?.id, type: 'success', value: 'done', meta: {} });
    await world.clock.advance(0);
    expect(answer.is).toBe('done');
  });

  it('that were under way when the socket broke are never sent again', async () => {
    const session = await world.start();
    const answer = settledAs(session.exec(run, [1]));
    world.edge.socket.end();
    await world.clock.advance(60_000);
    expect(answer.is).toEqual(['LINK_LOST', 'unknown']);
    expect(world.edge.sockets.flatMap((socket) => socket.executed())).toEqual([[1]]);
  });

  it('that a stopping server did not take go to the next one, once', async () => {
    const session = await world.start();
    const answer = settledAs(session.exec(run, [1]));
    const { socket } = world.edge;
    socket.refuse(socket.requests.at(-1)?.id ?? 0, new HoldfastError('SHUTTING_DOWN', {}));
    await world.clock.advance(100);
    expect(socket.executed()).toEqual([[1]]);
    world.edge.mode = 'refuses';
    socket.end();
    await world.clock.advance(0);
    expect(world.master.socket.executed()).toEqual([[1]]);
    world.master.socket.say({ id: world.master.socket.requests.at(-1)?.id, type: 'success', value: 2, meta: {} });
    await world.clock.advance(0);
    expect(answer.is).toBe(2);
  });

  it('that a stopping server refuses when the session has left it go to the next one at once', async () => {
    const session = await world.start();
    const slow = settledAs(session.exec(run, ['slow']));
    const refused = settledAs(session.exec(run, ['refused']));
    const old = world.edge.socket;
    old.redirect(MASTER, '0.5');
    await world.clock.advance(0);
    expect([session.state.origin, world.master.socket.executed()]).toEqual([MASTER, []]);
    old.refuse(old.requests.at(-1)?.id ?? 0, new HoldfastError('SHUTTING_DOWN', {}));
    await world.clock.advance(0);
    expect(world.master.socket.executed()).toEqual([['refused']]);
    world.master.socket.say({ id: world.master.socket.requests.at(-1)?.id, type: 'success', value: 'there', meta: {} });
    await world.clock.advance(0);
    expect([slow.is, refused.is]).toEqual(['open', 'there']);
  });

  it('that a server refuses where nobody drives go to the one where it sends the session, and are refused where it sends nobody', async () => {
    const session = await world.start();
    const nobody = new HoldfastError('NO_HOLDER', { location: 'berlin', reason: 'lease-ended' });
    const [refused, moved] = [settledAs(session.exec(run, [1])), settledAs(session.exec(run, [2]))];
    const { socket } = world.edge;
    const [first = 0, second = 0] = socket.requests.filter(({ cmd }) => cmd === 'exec').map(({ id }) => id);
    socket.refuse(first, nobody);
    await world.clock.advance(0);
    expect(refused.is).toEqual(['NO_HOLDER', undefined]);
    socket.redirect(MASTER, '0.5');
    socket.refuse(second, nobody);
    await world.clock.advance(10);
    expect(world.master.socket.executed()).toEqual([[2]]);
    world.master.socket.say({ id: world.master.socket.requests.at(-1)?.id, type: 'success', value: 'there', meta: {} });
    await world.clock.advance(0);
    expect(moved.is).toBe('there');
  });

  it('that a server refuses where nobody drives, when the session has left it, go to the next one; what another module said is final', async () => {
    const session = await world.start();
    const [late, nested] = [settledAs(session.exec(run, [1])), settledAs(session.exec(run, [2]))];
    const { socket } = world.edge;
    const [first = 0, second = 0] = socket.requests.filter(({ cmd }) => cmd === 'exec').map(({ id }) => id);
    socket.redirect(MASTER, '0.5');
    await world.clock.advance(10);
    const nobody = new HoldfastError('NO_HOLDER', { location: 'berlin', reason: 'lease-ended' });
    socket.refuse(first, nobody);
    socket.refuse(second, nestedError(nobody.toJSON()));
    await world.clock.advance(10);
    expect(world.master.socket.executed()).toEqual([[1]]);
    expect([late.is, nested.is]).toEqual(['open', ['NO_HOLDER', undefined]]);
  });

  it('that wait for a move which fails go to the server of the moment', async () => {
    const session = await world.start();
    const answer = settledAs(session.exec(run, [1]));
    world.master.mode = 'mute';
    world.edge.socket.redirect(MASTER, '0.5');
    world.edge.socket.refuse(world.edge.socket.requests.at(-1)?.id ?? 0, new HoldfastError('NO_HOLDER', { location: 'berlin', reason: 'lease-ended' }));
    await world.clock.advance(limits.sdkConnectMs * 1.5);
    expect([answer.is, world.edge.socket.executed()]).toEqual(['open', [[1], [1]]]);
  });

  it('under way at a server that is left are answered there', async () => {
    const session = await world.start();
    const answer = settledAs(session.exec(run, [1]));
    const old = world.edge.socket;
    old.redirect(MASTER, '0.5');
    await world.clock.advance(0);
    expect([session.state.origin, world.edge.open.length]).toEqual([MASTER, 1]);
    old.say({ id: old.requests.at(-1)?.id, type: 'success', value: 'from the edge', meta: {} });
    await world.clock.advance(0);
    expect([answer.is, world.edge.open.length, world.master.socket.executed()]).toEqual(['from the edge', 0, []]);
  });

  it('are given up at their deadline or by their caller, and say what became of them', async () => {
    const session = await world.start();
    const late = settledAs(session.exec(run, [1], { timeoutMs: 500 }));
    const abort = new AbortController();
    const cancelled = settledAs(session.exec(run, [2], { signal: abort.signal }));
    abort.abort();
    await world.clock.advance(500);
    expect([late.is, cancelled.is]).toEqual([['DEADLINE', 'unknown'], ['CANCELLED', 'unknown']]);
    world.edge.mode = 'refuses';
    world.master.mode = 'refuses';
    world.edge.socket.end();
    const unsent = settledAs(session.exec(run, [3], { timeoutMs: 500 }));
    const last = settledAs(session.exec(run, [4]));
    await world.clock.advance(500);
    session.close();
    const afterwards = settledAs(session.exec(run, [5]));
    await world.clock.advance(0);
    const notSent = ['CANCELLED', 'not-sent'];
    expect([unsent.is, last.is, afterwards.is]).toEqual([['DEADLINE', 'not-sent'], notSent, notSent]);
    expect(world.clock.pendingTimers).toBe(0);
  });
});
