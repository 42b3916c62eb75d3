import { expect, it } from 'vitest';
import { SystemClient } from '../../src/driver-host/system-client.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';

it('keeps nothing of a question that could not be sent', () => {
  const client = new SystemClient(() => {
    throw new TypeError('Do not know how to serialize a BigInt');
  });
  const port = client.portOf({ location: 'hq', run: 1, epoch: { generation: 0, number: 1 } }, 'mod-1');
  const told: Json[] = [];
  expect(() => port.watch({ name: 'Display', index: 1, key: 'power' }, (value) => void told.push(value))).toThrow('BigInt');
  for (let id = 0; id < 3; id += 1) client.receive({ t: 'system.change', id, value: true });
  expect(told).toEqual([]);
});

it('says of what a module heard from another one that its own command may have been carried out', async () => {
  const sent: number[] = [];
  const client = new SystemClient((message) => {
    if (message.t === 'system') sent.push(message.id);
  });
  const port = client.portOf({ location: 'hq', run: 1, epoch: { generation: 0, number: 1 } }, 'mod-1');
  const answers = [new HoldfastError('NO_HOLDER', { location: 'paris', reason: 'edge-lost' }), new HoldfastError('DEVICE_LOST', { module: 'mod-2', fate: 'not-sent' })];
  const asked = answers.map(() => port.ask({ kind: 'count', name: 'Display' }, new AbortController().signal).catch((error: unknown) => error));
  for (const [at, error] of answers.entries()) client.receive({ t: 'system.error', id: sent[at] ?? 0, error: error.toJSON() });
  expect(await Promise.all(asked)).toMatchObject([{ code: 'NO_HOLDER', facts: { nested: true } }, { code: 'DEVICE_LOST', facts: { nested: true, fate: 'unknown' } }]);
});
