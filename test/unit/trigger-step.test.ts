import { describe, expect, it } from 'vitest';
import type { Json } from '../../src/shared/foundation/json.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { type TriggerDocument, triggerSchema } from '../../src/shared/model/trigger.ts';
import { fromTold, merge, toTold, type TriggerMemory } from '../../src/shared/triggers/memory.ts';
import { holds, nextTime, ruleOf } from '../../src/shared/triggers/rule.ts';
import { beginTrigger, stepTrigger, type TriggerEvent, type TriggerState } from '../../src/shared/triggers/step.ts';

const power = { mod: 'Display_1', status: 'power' };
const MINUTE = 60_000;
const at = (text: string): number => Date.parse(text);

const trigger = (fields: object) => triggerSchema.parse({ id: 'trig', type: 'trigger', name: 'Trigger', ...fields });
const comparing = (left: unknown, operator: string, right: unknown, more: object = {}) =>
  trigger({ conditions: { comparisons: [{ left, operator, right }] }, ...more });
const nightly = (cron: string, timezone = 'UTC') => trigger({ conditions: { time_dependents: [{ type: 'cron', cron, timezone }] } });

/** One trigger as the node that drives sees it, and a clock to set. */
class Bench {
  wallMs: number;
  monotonicMs = 0;
  number = 2;
  readonly fired: string[] = [];
  readonly rule;
  state: TriggerState;

  constructor(document: TriggerDocument, options: { start?: string; values?: (Json | undefined)[]; known?: TriggerMemory } = {}) {
    const { start = '2025-03-03T00:00Z', values = [], known = null } = options;
    this.wallMs = at(start);
    this.rule = ruleOf(document);
    this.state = this.begin(known, values);
  }

  get memory(): TriggerMemory {
    return this.state.memory;
  }

  get now() {
    return { wallMs: this.wallMs, monotonicMs: this.monotonicMs, epoch: { generation: 0, number: this.number } };
  }

  /** Control comes to a node that remembers this. */
  begin(known: TriggerMemory | null, values: (Json | undefined)[] = [], fresh = false): TriggerState {
    const all = this.rule.variables.map((_, i) => values[i]);
    this.state = beginTrigger(this.rule, known, { instance: 'trig~sys', values: all, fresh }, this.now);
    this.take({ type: 'began' });
    return this.state;
  }

  take(event: TriggerEvent): string {
    const step = stepTrigger(this.rule, this.state, event, this.now);
    this.state = step.state;
    if (step.fires !== null) this.fired.push(step.fires);
    return step.reason;
  }

  value(value: Json, variable = 0): string {
    return this.take({ type: 'value', variable, value });
  }

  pass(ms: number): string {
    this.wallMs += ms;
    this.monotonicMs += ms;
    return this.take({ type: 'clock' });
  }
}

describe('comparisons', () => {
  it.each([
    [1, 'equal', 1, true], [1, 'equal', '1', false], [true, 'not_equal', false, true],
    [2, 'greater_than', 1, true], [1, 'greater_than', 1, false], [1, 'greater_than_or_equal', 1, true], ['b', 'greater_than', 'a', false],
    [1, 'less_than', 2, true], [2, 'less_than_or_equal', 2, true], [null, 'less_than', 1, false],
    [1, 'and', true, true], [null, 'and', true, false], [false, 'or', 1, true], [null, 'or', false, false],
    [true, 'exclusive_or', false, true], [1, 'exclusive_or', 1, false],
  ])('%j %s %j: %j', (left, operator, right, expected) => {
    const rule = ruleOf(comparing(power, operator, { mod: 'Display', status: 'other' }));
    expect(holds(rule, [left, right])).toBe(expected);
  });

  it('look into objects, read a variable once, and wait for what is not known', () => {
    const rule = ruleOf(trigger({ conditions: { comparisons: [
      { left: { ...power, keys: ['lamp', 'hours'] }, operator: 'greater_than', right: 10 },
      { left: { mod: 'Display', status: 'power' }, operator: 'not_equal', right: 'off' },
    ] } }));
    expect(rule.variables).toEqual([{ module: 'Display', index: 1, key: 'power' }]);
    expect(holds(rule, [undefined])).toBeNull();
    expect(holds(rule, [{ lamp: { hours: 11 } }])).toBe(true);
    expect(holds(rule, [{ lamp: 11 }])).toBe(false);
  });

  it('fire when they begin to hold, not while they hold', () => {
    const bench = new Bench(comparing({ mod: 'Sensor', status: 'level' }, 'greater_than', 80));
    for (const level of [50, 81, 99, 80, 90]) bench.value(level);
    expect(bench.fired).toEqual(['rise-1', 'rise-2']);
    expect(bench.memory).toMatchObject({ count: 2, met: true });
  });

  it('of a new trigger that already holds do not fire; a value that comes later does', () => {
    const rule = comparing(power, 'equal', true);
    expect(new Bench(rule, { values: [true] }).fired).toEqual([]);
    const silent = new Bench(rule);
    silent.value(true);
    expect(silent.fired).toEqual(['rise-1']);
  });

  it('all must hold, or any with any_match', () => {
    const isOn = (left: object) => ({ left, operator: 'equal', right: true });
    const conditions = { comparisons: [isOn(power), isOn({ mod: 'Sensor', status: 'busy' })] };
    const all = new Bench(trigger({ conditions }));
    const either = new Bench(trigger({ conditions, any_match: true }));
    for (const bench of [all, either]) {
      bench.value(true, 0);
      bench.value(true, 1);
    }
    expect([all.fired, either.fired]).toEqual([['rise-1'], ['rise-1']]);
    either.value(false, 0);
    either.value(true, 0);
    expect(either.fired).toEqual(['rise-1']);
  });
});

describe('a move of control', () => {
  it('does not repeat what has fired, and fires what changed meanwhile', () => {
    const edge = new Bench(comparing(power, 'equal', true));
    edge.value(false);
    edge.value(true);
    const master = new Bench(comparing(power, 'equal', true), { known: edge.memory, values: [true] });
    expect(master.fired).toEqual([]);
    master.value(false);
    const back = new Bench(comparing(power, 'equal', true), { known: master.memory, values: [true] });
    expect(back.fired).toEqual(['rise-2']);
  });

  it('to a node that does not know the values yet keeps what is remembered', () => {
    const edge = new Bench(comparing(power, 'equal', true));
    edge.value(true);
    const restarted = new Bench(comparing(power, 'equal', true), { known: edge.memory });
    restarted.value(true);
    expect(restarted.fired).toEqual([]);
  });

  it('fires a time that was due meanwhile, once, and not after long', () => {
    const edge = new Bench(nightly('0 3 * * *'), { start: '2025-03-03T02:59Z' });
    const take = (start: string, known: TriggerMemory) => {
      const bench = new Bench(nightly('0 3 * * *'), { start, known });
      const reason = bench.take({ type: 'clock' });
      return { bench, reason };
    };
    const soon = take('2025-03-03T03:00:40Z', edge.memory);
    expect([soon.reason, soon.bench.fired]).toEqual(['fires', [`time-${at('2025-03-03T03:00Z') / 1_000}`]]);
    expect(take('2025-03-03T03:00:50Z', soon.bench.memory).reason).toBe('nothing-new');
    const late = take('2025-03-03T03:06Z', edge.memory);
    expect([late.reason, late.bench.fired]).toEqual(['time-missed', []]);
    expect(late.bench.take({ type: 'clock' })).toBe('nothing-new');
  });
});

describe('times', () => {
  it('of a cron in its time zone, and once at a moment', () => {
    const bench = new Bench(trigger({ conditions: { time_dependents: [
      { type: 'cron', cron: '0 3 * * *', timezone: 'Europe/Berlin' }, { type: 'at', time: at('2025-03-03T01:30Z') / 1_000 },
    ] } }));
    for (let i = 0; i < 3 * 60; i += 1) bench.pass(MINUTE);
    expect(bench.fired).toEqual([`time-${at('2025-03-03T01:30Z') / 1_000}`, `time-${at('2025-03-03T02:00Z') / 1_000}`]);
    expect(nextTime(ruleOf(nightly('0 3 * * *')), at('2025-03-03T03:00Z'))).toBe(at('2025-03-04T03:00Z'));
  });

  it('come once on the night that the clocks go back, and on the one that they go forward', () => {
    const back = new Bench(nightly('30 2 * * *', 'Europe/Berlin'), { start: '2025-10-25T22:00Z' });
    for (let i = 0; i < 6 * 60; i += 1) back.pass(MINUTE);
    expect(back.fired).toEqual([`time-${at('2025-10-26T00:30Z') / 1_000}`]);
    const forward = new Bench(nightly('30 2 * * *', 'Europe/Berlin'), { start: '2025-03-29T22:00Z' });
    for (let i = 0; i < 6 * 60; i += 1) forward.pass(MINUTE);
    expect(forward.fired).toEqual([`time-${at('2025-03-30T01:00Z') / 1_000}`]);
  });

  it('are not repeated when the clock is set back, nor lost for long when it was far ahead', () => {
    const bench = new Bench(nightly('*/10 * * * *'), { start: '2025-03-03T00:05Z' });
    bench.pass(6 * MINUTE);
    bench.wallMs -= 10 * MINUTE;
    for (let i = 0; i < 12; i += 1) bench.pass(MINUTE);
    expect(bench.fired).toEqual(['00:10'].map((time) => `time-${at(`2025-03-03T${time}Z`) / 1_000}`));
    bench.wallMs += 400 * 86_400_000;
    expect(bench.take({ type: 'clock' })).toBe('fires');
    bench.wallMs -= 400 * 86_400_000;
    bench.fired.length = 0;
    for (let i = 0; i < 10; i += 1) bench.pass(MINUTE);
    expect(bench.fired).toEqual([`time-${at('2025-03-03T00:20Z') / 1_000}`]);
  });

  it('of several that were missed the last counts; a new trigger has no past', () => {
    const bench = new Bench(nightly('* * * * *'), { start: '2025-03-03T00:00:30Z' });
    bench.pass(4 * MINUTE);
    expect(bench.fired).toEqual([`time-${at('2025-03-03T00:04Z') / 1_000}`]);
    bench.wallMs += 3 * MINUTE;
    bench.begin(bench.memory, [], true);
    expect(bench.take({ type: 'clock' })).toBe('nothing-new');
  });

  it('fire only while the comparisons hold, whose own rise does not', () => {
    const conditions = { comparisons: [{ left: power, operator: 'equal', right: true }], time_dependents: [{ type: 'cron', cron: '*/5 * * * *' }] };
    const bench = new Bench(trigger({ conditions }), { start: '2025-03-03T00:01Z' });
    expect(bench.pass(5 * MINUTE)).toBe('conditions-not-met');
    expect(bench.value(true)).toBe('conditions-met');
    bench.pass(5 * MINUTE);
    expect(bench.fired).toEqual([`time-${at('2025-03-03T00:10Z') / 1_000}`]);
  });
});

it('a webhook fires at each call, the same call once, and under the comparisons', () => {
  const hook = { enable_webhook: true, webhook_secret: 'a-secret-of-its-own' };
  const bench = new Bench(trigger(hook));
  expect(['a', 'b', 'a'].map((call) => bench.take({ type: 'called', call }))).toEqual(['fires', 'fires', 'called-before']);
  const guarded = new Bench(comparing(power, 'equal', true, hook));
  expect(guarded.take({ type: 'called', call: 'a' })).toBe('conditions-not-met');
  guarded.value(true);
  expect(guarded.take({ type: 'called', call: 'a' })).toBe('fires');
  expect(guarded.fired).toEqual(['call-a']);
});

it('nothing fires again within the debounce period, whatever the clock on the wall does, also after a move', () => {
  const rule = comparing(power, 'equal', true, { debounce_period: 5_000 });
  const bench = new Bench(rule);
  const toggle = (to: Bench): string => {
    to.value(false);
    return to.value(true);
  };
  expect(toggle(bench)).toBe('fires');
  bench.pass(4_999);
  bench.wallMs += 3_600_000;
  expect(toggle(bench)).toBe('debounced');
  bench.wallMs -= 3_600_000;
  const next = new Bench(rule, { known: fromTold(toTold(bench.memory, bench.wallMs), at('2025-03-03T07:00Z')), start: '2025-03-03T07:00Z', values: [true] });
  expect(toggle(next)).toBe('debounced');
  next.pass(1);
  expect(toggle(next)).toBe('fires');
});

describe('two memories', () => {
  const told = (number: number, occurrences: string[], fields: Partial<TriggerMemory> = {}): TriggerMemory => ({
    instance: 'trig~sys',
    epoch: { generation: 0, number },
    revision: 1,
    timesUntilMs: 0,
    met: false,
    rises: 0,
    count: occurrences.length,
    firings: occurrences.map((occurrence, i) => ({ occurrence, epoch: { generation: 0, number }, wallMs: 1_000 - i })),
    ...fields,
  });

  it('become one that has heard of everything; the later epoch knows whether the conditions hold', () => {
    const { memory } = merge(told(2, ['rise-2'], { timesUntilMs: 9, rises: 2, met: true }), told(3, ['rise-1'], { rises: 1 }));
    expect(memory).toMatchObject({ timesUntilMs: 9, rises: 2, met: false, epoch: { number: 3 } });
    expect(memory.firings.map(({ occurrence }) => occurrence).toSorted()).toEqual(['rise-1', 'rise-2']);
  });

  it('of one epoch: the one that was changed last counts, whichever is told', () => {
    const older = told(2, []);
    const newer = told(2, [], { revision: 2, met: true });
    expect([merge(older, newer).memory.met, merge(newer, older).memory.met]).toEqual([true, true]);
  });

  it('show what fired on both sides, once', () => {
    const own = told(2, ['time-60', 'rise-1']);
    const first = merge(own, told(3, ['time-60', 'rise-2']));
    expect(first.doubles).toEqual([{ occurrence: 'time-60', epochs: [{ generation: 0, number: 2 }, { generation: 0, number: 3 }] }]);
    expect(merge(first.memory, told(3, ['time-60', 'rise-2'])).doubles).toEqual([]);
    expect(merge(own, own).doubles).toEqual([]);
  });

  it('keep the newest firings only', () => {
    const many = (number: number) => told(number, Array.from({ length: limits.triggerFirings }, (_, i) => `call-${number}-${i}`));
    expect(merge(many(2), many(3)).memory.firings).toHaveLength(limits.triggerFirings);
  });
});

it.each([
  ['cron', { type: 'cron', cron: '61 * * * *' }],
  ['timezone', { type: 'cron', cron: '0 3 * * *', timezone: 'Moon/Sea' }],
])('a wrong %s is refused by its name', (field, time) => {
  expect(() => ruleOf(trigger({ conditions: { time_dependents: [time] } }))).toThrow(expect.objectContaining({ facts: expect.objectContaining({ field }) }));
});
