import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { siteFile } from '../../src/demo/site.ts';
import { parseRestoreWindow, upcoming, windowAt } from '../../src/shared/control/restore-window.ts';

const HOUR = 3_600_000;

it.each(['Europe/Berlin', 'Europe/Lisbon', 'UTC', 'America/New_York', 'Pacific/Auckland', 'Asia/Kolkata'])(
  'at every hour of the day the demo starts with a closed restore window, and none that opens soon (%s)',
  (timezone) => {
    const site = { id: 'here', name: 'Here', policy: 'available', timezone, ports: [] } as const;
    for (let hour = 0; hour < 24; hour += 1) {
      const now = new Date(Date.UTC(2026, 10, 27, hour, 30));
      const { edges } = parse(siteFile([site], 8, now)) as { edges: { window_start: string; window_length: number; timezone: string }[] };
      const [edge] = edges;
      const window = edge === undefined ? null : parseRestoreWindow(edge);
      if (window === null) throw new Error('the demo has a window');
      const [next] = upcoming(window, now.getTime(), 1);
      expect(windowAt(window, now.getTime()).open).toBe(false);
      expect((next?.opensMs ?? 0) - now.getTime()).toBeGreaterThan(10 * HOUR);
    }
  },
);
