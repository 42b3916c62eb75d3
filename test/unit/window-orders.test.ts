import { describe, expect, it } from 'vitest';
import { parseRestoreWindow, type RestoreWindow } from '../../src/shared/control/restore-window.ts';
import { closeWindow, noWindowOrders, openWindow, windowUnder } from '../../src/shared/control/window-orders.ts';
import { previewWindow } from '../../src/shared/control/window-preview.ts';

const HOUR = 3_600_000;
const at = (text: string): number => Date.parse(text);
const windowOf = (window_start: string, timezone = 'UTC', window_length = 3_600): RestoreWindow => {
  const window = parseRestoreWindow({ window_start, timezone, window_length });
  if (window === null) throw new Error('there is a window');
  return window;
};

describe('a window opened or closed by order', () => {
  const daily = windowOf('0 4 * * *');
  const midnight = at('2026-06-01T00:00Z');

  it('opens at once for its length, where there is no schedule too, and ends by itself', () => {
    for (const schedule of [daily, null]) {
      const orders = openWindow(noWindowOrders, midnight, 120_000);
      expect(windowUnder(schedule, orders, midnight)).toMatchObject({ open: true, occurrence: midnight, closesMs: midnight + 120_000 });
      expect(windowUnder(schedule, orders, midnight + 119_999).open).toBe(true);
      expect(windowUnder(schedule, orders, midnight + 120_000).open).toBe(false);
    }
  });

  it('each order is an occurrence of its own: a new chance after a failed hand-back, also inside the scheduled one', () => {
    const inside = midnight + 4 * HOUR + 60_000;
    const scheduled = windowUnder(daily, noWindowOrders, inside);
    const ordered = windowUnder(daily, openWindow(noWindowOrders, inside, 120_000), inside);
    expect([scheduled.occurrence, ordered.occurrence]).toEqual([midnight + 4 * HOUR, inside]);
    expect(ordered.closesMs).toBe(scheduled.closesMs);
  });

  it('a scheduled opening that comes while it is open is the occurrence from then on', () => {
    const before = midnight + 4 * HOUR - 60_000;
    const orders = openWindow(noWindowOrders, before, 120_000);
    expect(windowUnder(daily, orders, before + 60_000)).toMatchObject({ open: true, occurrence: midnight + 4 * HOUR });
    expect(windowUnder(daily, orders, before + 180_000)).toMatchObject({ open: true, closesMs: midnight + 5 * HOUR });
  });

  it('closing ends this occurrence only, whoever opened it', () => {
    const inside = midnight + 4 * HOUR + 60_000;
    expect(windowUnder(daily, closeWindow(daily, inside), inside)).toMatchObject({ open: false, occurrence: null, closesMs: null });
    expect(windowUnder(daily, closeWindow(daily, inside), inside + 24 * HOUR).open).toBe(true);
    expect(windowUnder(null, closeWindow(null, midnight), midnight).open).toBe(false);
  });

  it('a window that was closed stays closed after one that was opened since has ended', () => {
    const inside = midnight + 4 * HOUR + 60_000;
    const orders = openWindow(closeWindow(daily, inside), inside + 1_000, 10_000);
    expect([1_000, 10_999, 11_000].map((ms) => windowUnder(daily, orders, inside + ms).open)).toEqual([true, true, false]);
  });

  it('a wall clock that is set back does not leave it open', () => {
    expect(windowUnder(null, openWindow(noWindowOrders, midnight, 120_000), midnight - 1).open).toBe(false);
  });
});

describe('preview of a window', () => {
  const noteOf = (window: RestoreWindow, from: string): string => previewWindow(window, at(from), 1)[0]?.notes.join('; ') ?? 'never';

  it('says each opening on both clocks, and nothing where no clock changes', () => {
    expect(previewWindow(windowOf('30 2 * * *', 'Europe/Berlin'), at('2026-06-01T00:00Z'), 2)).toMatchObject([
      { opensLocal: '2026-06-01 02:30 +02:00', closesLocal: '2026-06-01 03:30 +02:00', opensMs: at('2026-06-01T00:30Z'), notes: [] },
      { opensMs: at('2026-06-02T00:30Z'), notes: [] },
    ]);
  });

  it('marks an opening that falls into the missing hour', () => {
    const night = '2026-03-28T12:00Z';
    expect(noteOf(windowOf('30 2 * * *', 'Europe/Berlin'), night)).toBe('moved: the clocks go forward from 02:00 to 03:00, and the time in between opens right after');
    expect(noteOf(windowOf('0 3 * * *', 'Europe/Berlin'), night)).toBe('');
  });

  it('marks an opening in the hour that comes twice, and a change while it is open', () => {
    const night = '2026-10-24T12:00Z';
    expect(noteOf(windowOf('30 2 * * *', 'Europe/Berlin', 600), night)).toBe('the clocks go back from 03:00 to 02:00: 02:30 comes twice, and it opens the first time only');
    expect(noteOf(windowOf('0 1 * * *', 'Europe/Berlin', 4 * 3_600), night)).toBe('the clocks go back from 03:00 to 02:00 while it is open; it is open for its full length');
    expect(noteOf(windowOf('0 1 * * *', 'Europe/Berlin', 4 * 3_600), '2026-03-28T12:00Z')).toContain('forward from 02:00 to 03:00 while it is open');
    expect(noteOf(windowOf('30 * * * *', 'Europe/Berlin', 60), '2026-10-25T00:00Z')).toBe('');
  });

  it('the turn of the year is no clock change, and what never opens has no openings', () => {
    expect(noteOf(windowOf('30 23 31 12 *', 'Europe/Berlin', 7_200), '2026-12-01T00:00Z')).toBe('');
    expect(previewWindow(windowOf('0 0 29 2 *'), at('2026-06-01T00:00Z'), 1)).toMatchObject([{ opensLocal: '2028-02-29 00:00 +00:00' }]);
  });
});
