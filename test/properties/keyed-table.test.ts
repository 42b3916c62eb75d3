import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { KeyedTable } from '../../src/shared/foundation/keyed-table.ts';

const key = fc.integer({ min: 0, max: 40 }).map((n) => `key-${n}`);
const step = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.constantFrom('set' as const, 'take' as const), key) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('clear' as const), key) },
);

it('holds what a map would hold, the oldest first', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const table = new KeyedTable<string, { at: number }>();
      const oracle = new Map<string, { at: number }>();
      for (const [at, [action, key]] of steps.entries()) {
        if (action === 'set') {
          table.set(key, { at });
          // What takes the place of another is the newest.
          oracle.delete(key);
          oracle.set(key, { at });
        } else if (action === 'take') {
          expect(table.take(key)).toEqual(oracle.get(key));
          oracle.delete(key);
        } else {
          table.clear();
          oracle.clear();
        }
        expect([table.size, table.has(key), table.get(key)]).toEqual([oracle.size, oracle.has(key), oracle.get(key)]);
        expect(table.values()).toEqual([...oracle.values()]);
      }
    }),
  );
});
