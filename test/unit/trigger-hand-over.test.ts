import { expect, it } from 'vitest';
import type { ControlSnapshot } from '../../src/shared/control/messages.ts';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import { createMemoryJournal } from '../../src/shared/adapters/store-memory/memory-journal.ts';
import type { Epoch } from '../../src/shared/model/control.ts';
import type { DeviceLink } from '../../src/shared/ports/device-link.ts';
import { HeldTimes } from '../../src/shared/runtime/location/held-times.ts';
import { LocationShell } from '../../src/shared/runtime/location/location-shell.ts';
import { StatusBoard } from '../../src/shared/runtime/status/status-board.ts';
import type { ToldMemory } from '../../src/shared/triggers/memory.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { silentLog } from '../support/silent-log.ts';

const unused = (): never => {
  throw new Error('not part of this test');
};
const epoch: Epoch = { generation: 0, number: 3 };
const memory: ToldMemory = { instance: 'trig~sys', epoch, revision: 4, timesUntilMs: 9, met: true, rises: 2, count: 2, firings: [] };

/** A frozen process may look at its triggers before it learns that its lease has ended. */
it('a node may act while it holds, and under a lease not beyond its end, whether or not it has noticed', async () => {
  const clock = new FakeClock();
  const held = new HeldTimes(clock, [], null);
  expect(held.mayAct).toBe(false);
  held.began(epoch);
  held.lease(8_000);
  await clock.advance(7_999);
  expect(held.mayAct).toBe(true);
  await clock.advance(1);
  expect([held.holding, held.mayAct]).toEqual([true, false]);
  held.lease(null);
  expect(held.mayAct).toBe(true);
  held.ended();
  expect(held.mayAct).toBe(false);
});

/** Control messages overtake what is told, so that what triggers remember has to travel with them. */
it('a hand-over carries what triggers remember: the next holder knows it before it begins', async () => {
  const clock = new FakeClock();
  const metrics = createPromMetrics();
  const happened: string[] = [];
  const snapshots: (ControlSnapshot | null)[] = [];
  const deviceLink: DeviceLink = {
    prepare: () => undefined,
    manage: () => Promise.resolve([]),
    onProgress: () => () => undefined, onEdited: () => () => undefined,
    start: async () => {
      happened.push('started');
      return { started: 0, failed: [] };
    },
    stop: async () => ({ handover: {} }),
    closeGate: () => undefined,
    restamp: unused, setLease: unused, exec: unused, reload: unused, functions: unused, serveSystems: unused, onStatus: unused, onLog: unused, writes: unused, close: unused,
  };
  const shell = new LocationShell<never, never>(
    {
      location: 'a', clock, metrics, deviceLink, log: silentLog, journal: createMemoryJournal({ clock }), board: new StatusBoard(metrics),
      triggers: { drive: unused, adopt: (told) => void happened.push(`adopted ${told.map(({ instance }) => instance).join()}`), handOver: () => [memory] },
      modules: () => [], sendControl: unused, closeLink: unused, tellStatus: unused,
      post: (event) => void (event.type === 'modules-stopped' && snapshots.push(event.snapshot)),
    },
    null,
  );
  shell.run({ type: 'stop-modules', run: 1, deadlineMs: 1_000 });
  await expect.poll(() => snapshots).toEqual([{ status: [], handover: {}, triggers: [memory] }]);
  shell.run({ type: 'start-modules', run: 2, epoch, snapshot: snapshots[0] ?? null });
  await expect.poll(() => happened).toEqual(['adopted trig~sys', 'started']);
});
