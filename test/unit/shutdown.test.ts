import { expect, it } from 'vitest';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { createShutdown } from '../../src/shared/runtime/shutdown.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { createMemoryLog } from '../support/memory-log.ts';

function createProcess() {
  const scope = new Scope();
  const clock = new FakeClock();
  const log = createMemoryLog();
  const exits: number[] = [];
  const shutdown = createShutdown({ scope, clock, log, exit: (code) => exits.push(code) });
  return { scope, clock, log, exits, shutdown };
}

it('a shutdown ends the process when a step never ends, and names the step', async () => {
  const { scope, clock, log, exits, shutdown } = createProcess();
  const ended: string[] = [];
  scope.defer('store', () => void ended.push('store'));
  scope.defer('modules', () => new Promise(() => undefined));
  scope.defer('api', () => void ended.push('api'));
  void shutdown.end();
  await clock.advance(limits.shutdownMs - 1);
  expect(exits).toEqual([]);
  await clock.advance(1);
  expect(exits).toEqual([1]);
  expect(ended).toEqual(['api']);
  expect(log.lines.at(-1)).toMatchObject({ level: 'error', event: 'shutdown-overdue', facts: { step: 'modules' } });
});

it('counts from the moment when it was told to end, also while it starts', async () => {
  const { clock, exits, shutdown } = createProcess();
  shutdown.begin();
  await clock.advance(limits.shutdownMs);
  expect(exits).toEqual([1]);
});

it('a shutdown in time leaves the process alone, and says which step failed', async () => {
  const { scope, clock, log, exits, shutdown } = createProcess();
  scope.defer('store', () => Promise.reject(new Error('no')));
  shutdown.begin();
  await shutdown.end();
  expect(clock.pendingTimers).toBe(0);
  await clock.advance(limits.shutdownMs);
  expect(exits).toEqual([]);
  expect(log.lines).toMatchObject([{ event: 'shutdown-step-failed', facts: { step: 'store' } }]);
});
