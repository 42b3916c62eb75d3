import { expect, it } from 'vitest';
import { SystemClient } from '../../src/driver-host/system-client.ts';
import type { Json } from '../../src/shared/foundation/json.ts';

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
