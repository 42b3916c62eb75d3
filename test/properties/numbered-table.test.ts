import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { NumberedTable } from '../../src/shared/foundation/numbered-table.ts';

const step = fc.oneof({ weight: 3, arbitrary: fc.constant('add' as const) }, { weight: 2, arbitrary: fc.nat() });

it('holds what a map would hold, and gives each number out once', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 600 }), (steps) => {
      const table = new NumberedTable<{ at: number }>();
      const oracle = new Map<number, { at: number }>();
      const given = new Set<number>();
      for (const [at, now] of steps.entries()) {
        if (now === 'add') {
          const value = { at };
          const id = table.add(value);
          expect(given.has(id)).toBe(false);
          given.add(id);
          oracle.set(id, value);
        } else {
          // One that is there, was there, or never was.
          const id = [...given, -1][now % (given.size + 1)] ?? -1;
          expect(table.take(id)).toBe(oracle.get(id));
          oracle.delete(id);
          expect(table.get(id)).toBeUndefined();
        }
        expect(table.size).toBe(oracle.size);
      }
      expect(table.entries()).toEqual([...oracle]);
      for (const [id, value] of oracle) expect(table.get(id)).toBe(value);
    }),
  );
});

it('passes over the numbers whose place is taken', () => {
  const table = new NumberedTable<object>();
  const first = {};
  const id = table.add(first);
  for (let turn = 0; turn < 1_000; turn += 1) expect(table.take(table.add({}))).toBeDefined();
  expect(table.take(id)).toBe(first);
  expect(table.size).toBe(0);
});
