import { describe, expect, it } from 'vitest';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import { HoldfastError, nestedError } from '../../src/shared/model/errors.ts';
import { limits } from '../../src/shared/model/limits.ts';
import type { DeviceLink, ExecCall } from '../../src/shared/ports/device-link.ts';
import { Proxy, type ProxyAnswer, type Route } from '../../src/shared/runtime/commands/proxy.ts';
import { StatusBoard } from '../../src/shared/runtime/status/status-board.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { epoch, watchOutcome } from '../support/link-pipe.ts';

/** A proxy over devices that record what ran; `move` changes who has control. */
function createWorld(first: Route) {
  const clock = new FakeClock();
  const listeners = new Set<() => void>();
  const ran: ExecCall[] = [];
  const unused = (): never => {
    throw new Error('not part of this test');
  };
  const exec = async (call: ExecCall): Promise<Json> => {
    ran.push(call);
    return world.device(call);
  };
  const deviceLink: DeviceLink = {
    manage: () => Promise.resolve([]),
    onProgress: () => () => undefined, onEdited: () => () => undefined,
    exec,
    prepare: unused,
    start: unused,
    closeGate: unused,
    restamp: unused,
    setLease: unused,
    stop: unused,
    onStatus: unused,
    onLog: unused,
    writes: unused,
    functions: unused,
    reload: unused,
    serveSystems: unused,
    close: unused,
  };
  const proxy = new Proxy({
    nodeId: 'here',
    clock,
    deviceLink,
    callTrigger: () => 'fires',
    route: () => world.route,
    onControlChange: (_, listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  });
  const world = {
    clock,
    ran,
    listeners,
    route: first,
    device: async (call: ExecCall): Promise<Json> => call.method,
    move: (route: Route): void => {
      world.route = route;
      for (const listener of Array.from(listeners)) listener();
    },
    exec: (method: string, signal: AbortSignal = new AbortController().signal, { forward = true, deadlineMs = 60_000 } = {}): Promise<ProxyAnswer> =>
      proxy.exec({ location: 'edge-1', module: 'mod-1', method, args: [], user: 'tester', entry: 'here', requestId: 'r', deadlineMs, at: '' }, signal, forward),
    watch: (method: string, signal?: AbortSignal) =>
      watchOutcome(world.exec(method, signal).then(({ value, servedBy }) => `${JSON.stringify(value)} by ${servedBy}`)),
  };
  return world;
}

const here: Route = { via: 'here', epoch: epoch(2) };
const wait: Route = { via: 'wait' };
const peer = (answer: Json, asked: { kind: string; body: Json }[] = []): Route => ({
  via: 'peer',
  peer: 'there',
  request: async (kind, body) => {
    asked.push({ kind, body });
    return answer;
  },
});

describe('a command for a location', () => {
  it('runs here, under the epoch of this node', async () => {
    const world = createWorld(here);
    expect(await world.exec('on')).toEqual({ value: 'on', servedBy: 'here' });
    expect(world.ran).toMatchObject([{ method: 'on', epoch: epoch(2), deadlineMs: 60_000 }]);
  });

  it('goes to the peer, once, and names who served it', async () => {
    const asked: { kind: string; body: Json }[] = [];
    const world = createWorld(peer({ value: 5, servedBy: 'there' }, asked));
    expect(await world.exec('on')).toEqual({ value: 5, servedBy: 'there' });
    expect(asked).toMatchObject([{ kind: 'exec', body: { location: 'edge-1', module: 'mod-1', method: 'on', user: 'tester' } }]);
    expect(world.ran).toEqual([]);
  });

  it('is not sent back to where it came from', async () => {
    const asked: { kind: string; body: Json }[] = [];
    const world = createWorld(peer(null, asked));
    await expect(world.exec('on', undefined, { forward: false })).rejects.toMatchObject({ code: 'CONTROL_CHANGING' });
    expect(asked).toEqual([]);
  });

  it('is refused when the answer of the peer is none', async () => {
    await expect(createWorld(peer({ value: 5 })).exec('on')).rejects.toMatchObject({ code: 'LINK_PROTOCOL' });
  });

  it('is answered at once when nobody has control', async () => {
    const world = createWorld({ via: 'nobody', reason: 'paused' });
    await expect(world.exec('on')).rejects.toMatchObject({ code: 'NO_HOLDER', facts: { reason: 'paused' } });
  });
});

describe('a command while control changes hands', () => {
  it('waits, then runs once', async () => {
    const world = createWorld(wait);
    const command = world.watch('on');
    await world.clock.advance(1_000);
    world.move(wait);
    await world.clock.advance(1_000);
    expect([command.outcome, world.ran.length]).toEqual(['pending', 0]);
    world.move(here);
    await world.clock.advance(0);
    expect(command.outcome).toEqual({ value: '"on" by here' });
    world.move(here);
    await world.clock.advance(60_000);
    expect(world.ran.length).toBe(1);
    expect([world.listeners.size, world.clock.pendingTimers]).toEqual([0, 0]);
  });

  it('waits so long and not longer, also when control keeps changing', async () => {
    const world = createWorld(wait);
    const command = world.exec('on');
    const watched = watchOutcome(command.then(() => null));
    for (let second = 0; second < limits.changingQueueMs / 1_000; second += 1) {
      expect(watched.outcome).toBe('pending');
      await world.clock.advance(999);
      world.move(wait);
      await world.clock.advance(1);
    }
    await expect(command).rejects.toMatchObject({ code: 'CONTROL_CHANGING', facts: { location: 'edge-1', retryAfterMs: 1_000 } });
    expect([world.ran.length, world.listeners.size]).toEqual([0, 0]);
  });

  it('is told that it did not run before it gives up by itself, which says less', async () => {
    const world = createWorld(wait);
    const command = world.exec('on', undefined, { deadlineMs: 1_000 });
    const watched = watchOutcome(command.then(() => null));
    await world.clock.advance(999 - limits.changingAnswerMs);
    expect(watched.outcome).toBe('pending');
    await world.clock.advance(1);
    await expect(command).rejects.toMatchObject({ code: 'CONTROL_CHANGING' });
    const hurried = world.exec('on', undefined, { deadlineMs: world.clock.monotonicMs() + 100 });
    await world.clock.advance(49);
    world.move(here);
    await expect(hurried).resolves.toEqual({ value: 'on', servedBy: 'here' });
  });

  it('is refused at once when the queue is full, and the queue empties again', async () => {
    const world = createWorld(wait);
    const queued = Array.from({ length: limits.changingQueue }, () => world.watch('on'));
    await expect(world.exec('one too many')).rejects.toMatchObject({ code: 'CONTROL_CHANGING', facts: { retryAfterMs: 1_000 } });
    world.move(here);
    await world.clock.advance(0);
    expect(queued.every(({ outcome }) => outcome !== 'pending')).toBe(true);
    expect(world.ran.length).toBe(limits.changingQueue);
    world.move(wait);
    const next = world.watch('next');
    await world.clock.advance(0);
    expect(next.outcome).toBe('pending');
  });

  it('is run by the next holder when its module had stopped already', async () => {
    const world = createWorld(here);
    world.device = async ({ module }) => {
      world.route = wait;
      throw new HoldfastError('MODULE_NOT_RUNNING', { module, reason: 'stopping' });
    };
    const command = world.watch('on');
    await world.clock.advance(100);
    expect(command.outcome).toBe('pending');
    world.move(peer({ value: 'on', servedBy: 'there' }));
    await world.clock.advance(0);
    expect(command.outcome).toEqual({ value: '"on" by there' });
  });

  it('is not run again when a module that it asked had stopped already', async () => {
    const world = createWorld(here);
    world.device = async ({ module }) => {
      world.route = wait;
      throw nestedError(new HoldfastError('MODULE_NOT_RUNNING', { module, reason: 'stopping' }).toJSON());
    };
    await expect(world.exec('on')).rejects.toMatchObject({ code: 'MODULE_NOT_RUNNING', facts: { nested: true } });
    expect(world.ran.length).toBe(1);
  });

  it('fails when its module is not running and nothing changes', async () => {
    const world = createWorld(here);
    world.device = async ({ module }) => Promise.reject(new HoldfastError('MODULE_NOT_RUNNING', { module, reason: 'off' }));
    await expect(world.exec('on')).rejects.toMatchObject({ code: 'MODULE_NOT_RUNNING' });
    expect(world.ran.length).toBe(1);
  });

  it.each([
    new HoldfastError('GATE_CLOSED', { module: 'mod-1', reason: 'released' }),
    new HoldfastError('STALE_EPOCH', { location: 'edge-1', epoch: '1.2', floor: '1.3' }),
  ])('is told so when the gate refused its write ($code), and is not run again', async (refusal) => {
    const world = createWorld(here);
    world.device = async () => Promise.reject(refusal);
    await expect(world.exec('on')).rejects.toMatchObject({ code: 'CONTROL_CHANGING', cause: refusal });
    expect(world.ran.length).toBe(1);
  });

  it('can be cancelled while it waits, or before', async () => {
    const world = createWorld(wait);
    const abort = new AbortController();
    const command = world.watch('on', abort.signal);
    await world.clock.advance(100);
    abort.abort();
    const tooLate = world.watch('on', abort.signal);
    await world.clock.advance(0);
    const cancelled = { code: 'CANCELLED', fate: 'not-sent' };
    expect([command.outcome, tooLate.outcome]).toEqual([cancelled, cancelled]);
    world.move(here);
    await world.clock.advance(0);
    expect([world.ran.length, world.listeners.size, world.clock.pendingTimers]).toEqual([0, 0, 0]);
  });
});

describe('the status board', () => {
  const value = (number: number, power: Json, location = 'edge-1') => ({ location, module: 'mod-1', key: 'power', value: power, epoch: epoch(number) });

  it('refuses and counts a value of an older epoch, for its location only', () => {
    const metrics = createPromMetrics();
    const board = new StatusBoard(metrics);
    const told: Json[] = [];
    board.onChange((status) => told.push(status.value));
    expect(board.set(value(3, 'on'))).not.toBeNull();
    expect(board.set(value(2, 'off'))).toBeNull();
    expect(board.set(value(2, 'elsewhere', 'edge-2'))).not.toBeNull();
    board.raiseFloor('edge-1', epoch(5));
    expect(board.set(value(4, 'off'))).toBeNull();
    expect(board.module('edge-1', 'mod-1')).toEqual({ values: { power: 'on' }, epoch: epoch(3) });
    expect(told).toEqual(['on', 'elsewhere']);
    expect(metrics.read('holdfast_fencing_refusals_total', { fence: 'status' })).toBe(2);
  });

  it('tells a change once, and nothing when the value is the same', () => {
    const board = new StatusBoard(createPromMetrics());
    const told: Json[] = [];
    const stop = board.onChange((status) => told.push(status.value));
    board.set(value(2, { on: true, level: 1 }));
    board.set(value(2, { level: 1, on: true }));
    stop();
    board.set(value(2, 'off'));
    expect(told).toEqual([{ on: true, level: 1 }]);
  });

  it('keeps old values over a change of holder, as values of the new epoch', () => {
    const board = new StatusBoard(createPromMetrics());
    const told: Json[] = [];
    board.set(value(2, 'on'));
    board.onChange((status) => told.push(status.value));
    board.adopt('edge-1', epoch(3), { status: [{ module: 'mod-1', key: 'volume', value: 7 }], handover: {}, triggers: [] });
    expect(board.module('edge-1', 'mod-1')).toEqual({ values: { power: 'on', volume: 7 }, epoch: epoch(3) });
    expect(board.values('edge-1').map((known) => known.epoch)).toEqual([epoch(3), epoch(3)]);
    expect(told).toEqual([7]);
    // Clients know by it that they have heard the value already.
    expect(board.value('edge-1', 'mod-1', 'power')).toMatchObject({ revision: [1, 2, 1] });
    expect(board.set(value(2, 'off'))).toBeNull();
  });
});
