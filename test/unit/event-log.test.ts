import { describe, expect, it } from 'vitest';
import { createMemoryEvents } from '../../src/shared/adapters/store-memory/memory-events.ts';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { type EventKind, eventKinds, eventTable, kindNames, recordedAs } from '../../src/shared/model/events.ts';
import { limits } from '../../src/shared/model/limits.ts';
import type { EventFilter, EventLog, EventStore, NewEvent } from '../../src/shared/ports/event-log.ts';
import { openEventLog } from '../../src/shared/runtime/events/event-log.ts';
import { recordingLog } from '../../src/shared/runtime/events/event-recorder.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { createMemoryLog } from '../support/memory-log.ts';

const kept = (): number => 10;
const all: EventFilter = { kinds: kindNames, location: null };
const only = (kind: EventKind) => ({ kinds: [kind], location: null });
let drawn = 0;
const random = { next: () => 0.5, hex: (bytes: number) => (drawn += 1).toString(16).padStart(bytes * 2, '0') };
const happened = (fields: Partial<NewEvent> = {}): NewEvent => ({ kind: 'link', event: 'link-up', location: 'edge-1', who: null, facts: {}, ...fields });

interface World {
  clock: FakeClock;
  store: EventStore;
  log: ReturnType<typeof createMemoryLog>;
  metrics: ReturnType<typeof createPromMetrics>;
  open(): Promise<EventLog>;
}

function world(store: EventStore = createMemoryEvents({ random, kept })): World {
  const clock = new FakeClock();
  const log = createMemoryLog();
  const metrics = createPromMetrics();
  return { clock, store, log, metrics, open: () => openEventLog({ store, clock, log, metrics, kept }) };
}

const sequencesFrom = (log: EventLog, from: Parameters<EventLog['read']>[0], filter = all): number[] =>
  log.read(from, filter, 100).events.map(({ sequence }) => sequence);

describe('an event log', () => {
  it('is read on from every point, page by page, with a restart in between', async () => {
    const { open } = world();
    let log = await open();
    for (let i = 0; i < 4; i += 1) log.record(happened());
    const early = Array.from({ length: 5 }, (_, sequence) => ({ ...log.newest, sequence }));
    await log.close();
    log = await open();
    for (let i = 0; i < 4; i += 1) log.record(happened());
    const late = Array.from({ length: 4 }, (_, index) => ({ ...log.newest, sequence: index + 5 }));
    for (const point of [...early, ...late]) {
      const expected = [1, 2, 3, 4, 5, 6, 7, 8].filter((sequence) => sequence > point.sequence);
      expect(sequencesFrom(log, point)).toEqual(expected);
      const paged: number[] = [];
      for (let next = point, more = true; more; ) {
        const page = log.read(next, all, 3);
        expect(page.missing).toBe(0);
        paged.push(...page.events.map(({ sequence }) => sequence));
        ({ next } = page);
        more = page.events.length > 0;
      }
      expect(paged).toEqual(expected);
    }
    expect(log.newest.epoch).toBe(2);
  });

  it('says exactly how many are gone when it was asked too late', async () => {
    const { open } = world();
    const log = await open();
    log.record(happened());
    const point = log.newest;
    for (let i = 0; i < 25; i += 1) log.record(happened());
    const page = log.read(point, all, 100);
    expect([page.missing, page.events.length, page.events[0]?.sequence]).toEqual([15, 10, 17]);
    expect(log.read({ ...point, sequence: 16 }, all, 100).missing).toBe(0);
    expect(log.read({ ...point, sequence: 15 }, all, 100).missing).toBe(1);
  });

  it('keeps the rare beside the frequent: only what is asked for makes a gap', async () => {
    const { open } = world();
    const log = await open();
    const begin = log.newest;
    log.record(happened({ kind: 'control', event: 'control' }));
    for (let i = 0; i < 50; i += 1) log.record(happened({ kind: 'audit', event: 'audit' }));
    expect(log.read(begin, only('control'), 10)).toMatchObject({ missing: 0, events: [{ sequence: 1 }], next: log.newest });
    expect(log.read(begin, only('audit'), 100).missing).toBe(40);
  });

  it('keeps changes of documents through any number of commands, also over a restart', async () => {
    const { open } = world();
    const log = await open();
    const recording = recordingLog(createMemoryLog(), log);
    recording.info('audit', { what: 'DELETE /api/engine/v2/systems/:id', who: 'key-1' });
    for (let i = 0; i < 50; i += 1) recording.info('command', { what: 'socket exec', who: 'key-2' });
    await log.close();
    for (const each of [log, await open()]) {
      expect(each.read(null, only('audit'), 10).events).toMatchObject([{ who: 'key-1' }]);
      expect(each.read(null, only('command'), 100).events.length).toBe(10);
    }
  });

  it('keeps changes and commands through any number of requests that were refused', async () => {
    const { open } = world();
    const log = await open();
    const recording = recordingLog(createMemoryLog(), log);
    for (const word of ['audit', 'command'] as const) recording.info(recordedAs(word, 200), { who: 'key-1' });
    for (const status of [401, 403, 429]) {
      for (let i = 0; i < 50; i += 1) for (const word of ['audit', 'command'] as const) recording.info(recordedAs(word, status), { who: 'nobody', status });
    }
    for (const kind of ['audit', 'command'] as const) expect(log.read(null, only(kind), 100).events).toMatchObject([{ who: 'key-1' }]);
    expect(log.read(null, only('refused'), 100).events).toMatchObject(Array.from({ length: 10 }, () => ({ event: 'refused', who: 'nobody' })));
  });

  it('remembers over a restart what it has forgotten', async () => {
    const { open } = world();
    const before = await open();
    const point = before.newest;
    for (let i = 0; i < 15; i += 1) before.record(happened());
    await before.close();
    expect((await open()).read(point, all, 100)).toMatchObject({ missing: 5 });
  });

  it('knows the place of another log, and of a future that it never had, for what they are', async () => {
    const [first, second] = [world(), world()];
    const [log, other] = [await first.open(), await second.open()];
    log.record(happened());
    other.record(happened());
    expect(log.read(other.newest, all, 10)).toMatchObject({ missing: null, events: [{ sequence: 1 }], next: log.newest });
    expect(log.read({ ...log.newest, sequence: 99 }, all, 10).missing).toBeNull();
  });

  it('gives a reader of before a crash what came after it, although sequences repeat', async () => {
    const { open } = world();
    const crashed = await open();
    // Never stored: the process is killed before its events have gathered.
    for (let i = 0; i < 3; i += 1) crashed.record(happened());
    const seen = crashed.newest;
    const log = await open();
    for (let i = 0; i < 2; i += 1) log.record(happened());
    expect(log.read(seen, all, 10)).toMatchObject({ missing: 0, events: [{ epoch: 2, sequence: 1 }, { epoch: 2, sequence: 2 }] });
  });

  it('filters by location and by time, and looks at everything once', async () => {
    const { open, clock } = world();
    const log = await open();
    log.record(happened({ location: 'edge-1' }));
    await clock.advance(1_000);
    const noon = clock.wallMs();
    log.record(happened({ location: 'edge-2' }));
    log.record(happened({ location: 'edge-1' }));
    expect(sequencesFrom(log, { wallMs: noon })).toEqual([2, 3]);
    expect(sequencesFrom(log, null, { ...all, location: 'edge-1' })).toEqual([1, 3]);
    expect(log.read(null, all, 2).events.map(({ sequence }) => sequence)).toEqual([2, 3]);
    expect(log.read({ wallMs: 0 }, { ...all, location: 'nowhere' }, 5)).toEqual({ events: [], next: log.newest, missing: 0 });
  });

  it('wakes readers of the kind once for a burst, and not within the step that recorded it', async () => {
    const log = await world().open();
    let [links, audits] = [0, 0];
    const stop = log.onEvent(['link', 'control'], () => (links += 1));
    log.onEvent(['audit'], () => (audits += 1));
    for (let i = 0; i < 5; i += 1) log.record(happened());
    expect(links).toBe(0);
    await Promise.resolve();
    expect([links, audits]).toEqual([1, 0]);
    stop();
    log.record(happened());
    await Promise.resolve();
    expect(links).toBe(1);
  });

  it('goes on when the disk takes nothing, counts what a restart will forget, and says so to whoever comes back', async () => {
    const memory = createMemoryEvents({ random, kept });
    let full = true;
    const append: EventStore['append'] = (events, forgotten) =>
      full ? Promise.reject(new HoldfastError('STORE_FULL', { path: 'events.db' })) : memory.append(events, forgotten);
    const { open, clock, metrics, log: lines } = world({ ...memory, append });
    const log = await open();
    const begin = log.newest;
    for (let i = 0; i < limits.eventsPending + 7; i += 1) log.record(happened());
    await clock.advance(60_000);
    expect(log.read(null, all, 10).events).toHaveLength(10);
    expect(metrics.read('holdfast_events_lost_total', {})).toBe(7);
    expect(lines.lines.filter(({ event }) => event === 'events-not-stored')).toHaveLength(1);
    full = false;
    await log.close();
    expect((await open()).read(begin, all, 100).missing).toBe(limits.eventsPending - 3);
  });
});

describe('a log that records', () => {
  const recorded = (): { log: ReturnType<typeof createMemoryLog>; events: NewEvent[]; recording: ReturnType<typeof recordingLog> } => {
    const log = createMemoryLog();
    const events: NewEvent[] = [];
    return { log, events, recording: recordingLog(log, { record: (event) => void events.push(event) }) };
  };

  it('says the same line to the log and to the events, with the facts that the table names and no others', () => {
    const { log, events, recording } = recorded();
    recording.child({ location: 'berlin' }).info('link-down', { peer: 'berlin', reason: 'silent', link: 7 });
    recording.info('listening', { origin: 'x' });
    expect(log.lines.map(({ event }) => event)).toEqual(['link-down', 'listening']);
    expect(events).toEqual([{ kind: 'link', event: 'link-down', location: 'berlin', who: null, facts: { peer: 'berlin', reason: 'silent' } }]);
  });

  it('keeps of an audit line who asked whom for what, and who carried it out', () => {
    const { events, recording } = recorded();
    const relayed = { what: 'relay', user: 'ada', via: 'berlin', module: 'mod-1', method: 'power', requestId: 'r-1', result: 'ok', servedBy: 'paris' };
    recording.info('audit', { ...relayed, location: 'paris' });
    expect(events.map(({ location, facts }) => ({ location, facts }))).toEqual([{ location: 'paris', facts: relayed }]);
  });

  it('lets nothing secret through, wherever it was put', () => {
    const secret = '5ec2e7'.repeat(11);
    const enrolment = 'holdfast-enrol:eyJ0b2tlbiI6InNlY3JldCJ9';
    const { events, recording } = recorded();
    const planted = `key-1.${secret} ${enrolment}`;
    for (const [word, { facts, location, who }] of Object.entries(eventTable)) {
      const names = [...facts, ...[location, who].filter((name) => name !== null)];
      recording.info(word, Object.fromEntries(names.map((name) => [name, planted])));
      recording.info(word, Object.fromEntries(facts.map((name) => [name, { deep: [{ deeper: planted }] }])));
      recording.info(word, { ...Object.fromEntries(facts.map((name) => [name, new Error(planted)])), settings: { password: planted } });
    }
    expect(events.length).toBe(3 * Object.keys(eventTable).length);
    expect(JSON.stringify(events)).not.toMatch(/5ec2e75ec2e7|eyJ0b2/);
  });

  it('cuts long texts and deep values', () => {
    const { events, recording } = recorded();
    let deep: object = {};
    for (let i = 0; i < 1_000; i += 1) deep = { deep };
    recording.warn('module-problem', { location: 'berlin', module: deep, problem: 'x'.repeat(100_000) });
    expect(JSON.stringify(events).length).toBeLessThan(limits.eventTextLength + 300);
  });

  it('has rows whose facts do not hide what every event has, and kinds that somebody writes', () => {
    const taken = Object.entries(eventTable).filter(([, { facts }]) => facts.some((fact) => ['id', 'kind', 'event', 'time', 'location', 'who'].includes(fact)));
    expect(taken.map(([word]) => word)).toEqual([]);
    expect(new Set(Object.values(eventTable).map(({ kind }) => kind))).toEqual(new Set(Object.keys(eventKinds)));
  });
});
