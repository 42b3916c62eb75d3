import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RequestTable } from '../../src/shared/link/request-table.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';

const LIMIT = 4;
const id = fc.integer({ min: 1, max: 12 });
const step = fc.oneof(
  fc.record({ do: fc.constant('add' as const), deadlineMs: fc.integer({ min: 0, max: 20 }) }),
  fc.record({ do: fc.constantFrom('sent' as const, 'settle' as const, 'fail' as const), id }),
  fc.record({ do: fc.constant('expire' as const), nowMs: fc.integer({ min: 0, max: 20 }) }),
  fc.record({ do: fc.constant('closeAll' as const) }),
);

interface Known {
  deadlineMs: number;
  sent: boolean;
  /** What the table must say, once. */
  expected: string[];
  settled: string[];
}

function run(steps: (typeof step extends fc.Arbitrary<infer S> ? S : never)[]): Known[] {
  const table = new RequestTable(LIMIT);
  const known = new Map<number, Known>();
  const end = (request: Known, outcome: string): number =>
    request.expected.push(outcome === 'value' ? outcome : `${outcome} ${request.sent ? '"unknown"' : '"not-sent"'}`);
  const open = (): Known[] => [...known.values()].filter(({ expected }) => expected.length === 0);
  for (const now of steps) {
    if (now.do === 'add') {
      const request: Known = { deadlineMs: now.deadlineMs, sent: false, expected: [], settled: [] };
      const settle: Parameters<RequestTable['add']>[0]['settle'] = (outcome) => {
        request.settled.push('error' in outcome ? `${outcome.error.code} ${JSON.stringify(outcome.error.facts['fate'])}` : 'value');
      };
      const add = (): number => table.add({ deadlineMs: now.deadlineMs, fate: 'not-sent', settle });
      if (open().length >= LIMIT) expect(add).toThrow(HoldfastError);
      else known.set(add(), request);
    } else if (now.do === 'expire' || now.do === 'closeAll') {
      const ending = open().filter(({ deadlineMs }) => now.do === 'closeAll' || deadlineMs <= now.nowMs);
      for (const request of ending) end(request, now.do === 'expire' ? 'DEADLINE' : 'LINK_LOST');
      if (now.do === 'closeAll') table.closeAll();
      else expect(table.expire(now.nowMs).length).toBe(ending.length);
    } else {
      const request = known.get(now.id);
      const isOpen = request !== undefined && request.expected.length === 0;
      if (now.do === 'sent') {
        table.sent(now.id);
        if (isOpen) request.sent = true;
      } else {
        if (isOpen) end(request, now.do === 'settle' ? 'value' : 'CANCELLED');
        expect(now.do === 'settle' ? table.settle(now.id, { value: 1 }) : table.fail(now.id, 'CANCELLED')).toBe(isOpen);
      }
    }
    expect(table.size).toBe(open().length);
    expect(table.nextDeadlineMs()).toBe(open().length === 0 ? null : Math.min(...open().map(({ deadlineMs }) => deadlineMs)));
  }
  for (const request of open()) end(request, 'LINK_LOST');
  table.closeAll();
  return [...known.values()];
}

describe('the table of pending requests', () => {
  it('settles each request exactly once, with its true fate, in any order of events', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        for (const { expected, settled } of run(steps)) {
          expect(settled).toEqual(expected);
          expect(settled.length).toBe(1);
        }
      }),
      { numRuns: 500 },
    );
  });
});
