import { expect, it } from 'vitest';
import { HIGHEST_EPOCH } from '../../src/shared/model/control.ts';
import { documentSchemas } from '../../src/shared/model/documents.ts';
import { limits } from '../../src/shared/model/limits.ts';
import type { Connection } from '../../src/shared/ports/transport.ts';
import { createDialler } from '../../src/sim/network.ts';
import { Town } from './support/town.ts';

/** An edge that has proved who it is, and then sends what it likes: no other location suffers from it. */

const available = { policy: 'available', timeout: 20 } as const;

interface Liar {
  connection: Connection;
  closed: string[];
}

/** The edge of `a` is a liar from the start, `b` an honest one. */
async function visited(): Promise<{ t: Town; lie: () => Promise<Liar> }> {
  const t = await Town.dark({ a: available, b: available });
  t.master.boot();
  t.edge('b').boot();
  await t.until(() => t.world.judge.settled('b'), '30s');
  const { line, seat } = t.world.site('a');
  const process = seat.machine.boot();
  const lie = async (): Promise<Liar> => {
    const dialled = createDialler(line, process).dial('master:1', new AbortController().signal);
    await t.run('1s');
    const connection = await dialled;
    const closed: string[] = [];
    connection.listen({
      frame: (text) => {
        const frame = JSON.parse(text) as { t: string; n?: number };
        if (frame.t === 'hb') connection.send(JSON.stringify({ t: 'hba', n: frame.n, ack: 0 }));
      },
      drained: () => undefined,
      closed: (reason) => void closed.push(reason),
    });
    connection.send(hello(1, 2));
    await t.run('1s');
    return { connection, closed };
  };
  return { t, lie };
}

const epochOf = (number: number) => ({ generation: 0, number });
const hello = (negotiation: number, number: number): string =>
  JSON.stringify({
    t: 'hello', negotiation, epoch: epochOf(number), state: 'standby', held: [],
    ...(negotiation === 1 ? { session: { v: [1, 1], boot: 'liar', peerBoot: '', id: '', received: 0, resumed: false } } : {}),
  });
const status = (seq: number, number: number): string =>
  JSON.stringify({ t: 'post', seq, ack: 0, type: 'status', body: { module: 'mod-a-1', key: 'value', value: seq, revision: [0, number, seq] }, ep: epochOf(number) });

it('the highest epoch that can be said leaves room for those that follow from it', async () => {
  const { t, lie } = await visited();
  const { connection } = await lie();
  connection.send(status(1, HIGHEST_EPOCH));
  await t.run('1s');
  connection.close('bye');
  await t.until(() => t.holder('a') === 'master', '60s');
  const taken = t.master.view('a')?.epoch.number ?? 0;
  expect(taken).toBeGreaterThan(HIGHEST_EPOCH);
  expect(Number.isSafeInteger(taken)).toBe(true);
  expect(t.holder('b')).toBe('edge');
});

it('epochs that rise faster than the disk can store them wait as one', async () => {
  const { t, lie } = await visited();
  const { connection, closed } = await lie();
  t.master.disk.slowMs = 2_000;
  // More than may wait for a machine.
  const count = 10_500;
  for (let seq = 1; seq <= count; seq += 1) connection.send(status(seq, 100 + 2 * seq));
  await t.run('10s');
  expect(closed).toEqual([]);
  expect(t.master.view('a')?.epoch.number).toBe(100 + 2 * count);
  expect(t.holder('b')).toBe('edge');
});

it('control messages that come faster than the disk can store them end the link', async () => {
  const { t, lie } = await visited();
  const { connection, closed } = await lie();
  t.master.disk.slowMs = 60_000;
  for (let negotiation = 2; negotiation < 2 + 4 * limits.controlWaiting; negotiation += 1) connection.send(hello(negotiation, 100 + 2 * negotiation));
  await t.run('1s');
  expect(closed).toHaveLength(1);
  expect(t.world.trace.last(100).join('\n')).toContain('link-down peer=a reason=control-flood');
  t.master.disk.slowMs = 0;
  await t.until(() => t.holder('b') === 'edge' && t.holder('a') === 'master', '120s');
});

it('modules and variables without end: so much is kept, the line stays, and values of others and of its own modules come through', async () => {
  const { t, lie } = await visited();
  const { connection, closed } = await lie();
  const say = (seq: number, module: string, key: string, value: unknown): void =>
    connection.send(JSON.stringify({ t: 'post', seq, ack: 0, type: 'status', body: { module, key, value, revision: [0, 2, seq] }, ep: epochOf(2) }));
  const count = 20_000;
  for (let seq = 1; seq <= count; seq += 1) {
    say(seq, seq % 2 === 0 ? 'mod-a-1' : `mod-${seq}`, `key-${seq}`, 'x'.repeat(500));
    if (seq % 4_000 === 0) await t.run('100ms');
  }
  say(count + 1, 'mod-a-1', 'value', 7);
  await t.run('1s');
  expect(closed).toEqual([]);
  expect(t.world.trace.last(1_000).filter((line) => line.includes('status-dropped'))).toHaveLength(1);
  const status = await t.master.seat.node?.desk.statusOf({ system: 'sys-a', module: 'Display', index: 1 });
  expect(Object.keys(status?.values ?? {})).toHaveLength(limits.statusKeys + 2);
  expect(status?.values['value']).toBe(7);
  // Once a document names one of them, what was kept of it is there, and there is room for more.
  say(count + 2, 'mod-1', 'early', 1);
  await t.run('1s');
  const late = documentSchemas.mod.parse({ id: 'mod-1', type: 'mod', driver_id: 'drv-sim', name: 'Late', edge_control_id: 'a' });
  await t.master.seat.store.apply([{ op: 'put', expect: null, document: late }]);
  await t.run('1s');
  say(count + 3, 'mod-1', 'late', 2);
  await t.run('1s');
  expect(t.master.seat.node?.desk.knownStatus('mod-1').values).toEqual({ 'key-1': 'x'.repeat(500), late: 2 });
  t.set('b', 5, t.edge('b'));
  await t.run('1s');
  expect(await t.master.value('b')).toBe(5);
});
