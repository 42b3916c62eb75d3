import { setMaxListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { createSchedule, type Task } from '../../src/driver-sdk/schedule.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** A clock on the wall that can be set, over one that cannot. */
class SettableClock extends FakeClock {
  offsetMs = 0;

  override wallMs(): number {
    return super.wallMs() + this.offsetMs;
  }
}

const run = (task: Task): Promise<void> | null => {
  const work = task();
  return work instanceof Promise ? work : null;
};

const setUp = (now = '2025-01-01T00:00:00Z') => {
  const clock = new SettableClock(Date.parse(now));
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const ran: string[] = [];
  const schedule = createSchedule({ clock, signal: stop.signal, run });
  const note = () => void ran.push(new Date(clock.wallMs()).toISOString().slice(5, 16));
  return { clock, stop, ran, schedule, note };
};

const HOUR = 3_600_000;

describe('a schedule of a driver', () => {
  it('every and in go by the time that passes, whatever the clock on the wall is set to', async () => {
    const { clock, ran, schedule, note } = setUp();
    schedule.every(1_000, note);
    schedule.in(1_500, note);
    clock.offsetMs = 24 * HOUR;
    await clock.advance(2_000);
    expect(ran).toHaveLength(3);
    clock.offsetMs = -24 * HOUR;
    await clock.advance(1_000);
    expect(ran).toHaveLength(4);
  });

  it('a run that takes longer than the interval delays the next', async () => {
    const { clock, ran, schedule, note } = setUp();
    schedule.every(1_000, async () => {
      note();
      await clock.sleep(2_500, new AbortController().signal);
    });
    await clock.advance(3_000);
    expect(ran).toHaveLength(1);
    await clock.advance(1_000);
    expect(ran).toHaveLength(2);
  });

  it('at goes by the clock on the wall, also when that is set; what has passed runs at once', async () => {
    const { clock, ran, schedule, note } = setUp();
    schedule.at('2025-01-01T12:00:00Z', note);
    schedule.at(new Date('2024-12-31T00:00:00Z'), note);
    await clock.advance(0);
    expect(ran).toEqual(['01-01T00:00']);
    clock.offsetMs = 11 * HOUR;
    await clock.advance(HOUR - 60_000);
    expect(ran).toHaveLength(1);
    await clock.advance(60_000);
    expect(ran).toEqual(['01-01T00:00', '01-01T12:00']);
    expect(clock.pendingTimers).toBe(0);
  });

  it('cron runs at local times of its zone', async () => {
    const { clock, ran, schedule, note } = setUp('2025-06-02T00:00:00Z');
    schedule.cron('30 18 * * 1-5', note, { timezone: 'Europe/Berlin' });
    await clock.advance(6 * 24 * HOUR);
    expect(ran).toEqual(['06-02T16:30', '06-03T16:30', '06-04T16:30', '06-05T16:30', '06-06T16:30']);
  });

  it('cron follows the rules of the restore window on clock changes: right after a gap, once in an hour that repeats', async () => {
    const spring = setUp('2025-03-29T12:00:00Z');
    spring.schedule.cron('30 2 * * *', spring.note, { timezone: 'Europe/Berlin' });
    await spring.clock.advance(24 * HOUR);
    expect(spring.ran).toEqual(['03-30T01:00']);
    const autumn = setUp('2025-10-25T12:00:00Z');
    autumn.schedule.cron('30 2 * * *', autumn.note, { timezone: 'Europe/Berlin' });
    await autumn.clock.advance(24 * HOUR);
    expect(autumn.ran).toEqual(['10-26T00:30']);
  });

  it('cron runs nothing twice when the clock is set back a little, and makes nothing up when it is set forward', async () => {
    const { clock, ran, schedule, note } = setUp('2025-01-01T11:59:00Z');
    schedule.cron('0 * * * *', note);
    await clock.advance(60_000);
    clock.offsetMs = -30_000;
    await clock.advance(60_000);
    expect(ran).toEqual(['01-01T12:00']);
    clock.offsetMs = 5 * HOUR;
    await clock.advance(60_000);
    expect(ran).toHaveLength(2);
    await clock.advance(HOUR);
    expect(ran).toHaveLength(3);
  });

  it('is refused with the name of the field that is wrong', () => {
    const { schedule, note } = setUp();
    expect(() => schedule.cron('61 * * * *', note)).toThrow(/cron: "61 \* \* \* \*" has the minute "61"/);
    expect(() => schedule.cron('0 * * * *', note, { timezone: 'Mars/Base' })).toThrow(/timezone/);
    expect(() => schedule.at('tomorrow', note)).toThrow(RangeError);
    expect(() => schedule.every(0, note)).toThrow(RangeError);
  });

  it('is cleared on unload', async () => {
    const { clock, stop, ran, schedule, note } = setUp();
    schedule.every(100, note);
    schedule.in(100, note);
    schedule.at('2025-01-01T00:01:00Z', note);
    schedule.cron('* * * * *', note);
    stop.abort();
    expect(clock.pendingTimers).toBe(0);
    await clock.advance(HOUR);
    expect(ran).toEqual([]);
  });

  it('is bounded in number, and one that has ended makes room', async () => {
    const { clock, schedule, note } = setUp();
    const timers = Array.from({ length: limits.moduleSchedules - 1 }, () => schedule.every(HOUR, note));
    schedule.in(10, note);
    expect(() => schedule.in(10, note)).toThrow(`more than ${limits.moduleSchedules} schedules`);
    await clock.advance(10);
    timers[0]?.cancel();
    timers[0]?.cancel();
    schedule.in(HOUR, note);
    schedule.in(HOUR, note);
    expect(() => schedule.in(HOUR, note)).toThrow(RangeError);
  });
});
