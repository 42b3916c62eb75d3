import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Due, TimerHeap } from '../../src/shared/foundation/timer-heap.ts';

const step = fc.oneof(
  fc.record({ action: fc.constant('add' as const), n: fc.integer({ min: 0, max: 20 }) }),
  fc.record({ action: fc.constantFrom('remove' as const, 'remove twice' as const), n: fc.nat() }),
  fc.record({ action: fc.constant('take the first' as const), n: fc.constant(0) }),
);

it('has first what is due first, whatever was added and taken out', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const heap = new TimerHeap<Due>();
      const inside: Due[] = [];
      const leave = (timer: Due | undefined): void => {
        if (timer === undefined) return;
        heap.remove(timer);
        inside.splice(inside.indexOf(timer), 1);
        expect(timer.place).toBe(-1);
      };
      for (const { action, n } of steps) {
        const some = inside[n % Math.max(1, inside.length)];
        if (action === 'add') {
          const timer = { dueMs: n, place: -1 };
          inside.push(timer);
          heap.add(timer);
        } else {
          leave(action === 'take the first' ? heap.first : some);
          if (action === 'remove twice' && some !== undefined) heap.remove(some);
        }
        expect(heap.first?.dueMs).toBe(inside.length === 0 ? undefined : Math.min(...inside.map(({ dueMs }) => dueMs)));
      }
      const drained: number[] = [];
      for (let { first } = heap; first !== undefined; { first } = heap) {
        drained.push(first.dueMs);
        heap.remove(first);
      }
      expect(drained).toEqual(inside.map(({ dueMs }) => dueMs).sort((a, b) => a - b));
    }),
  );
});
