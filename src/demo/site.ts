import { stringify } from 'yaml';

export interface DemoSite {
  id: string;
  name: string;
  policy: 'available' | 'exclusive';
  timezone: string;
  /** Ports of the simulated devices at this site. */
  ports: readonly number[];
}

const DEVICES = ['Display', 'Projector', 'Lights'] as const;

/** The documents of the demo that starts now, as an operator would write them. */
export function siteFile(sites: readonly DemoSite[], timeoutSeconds: number, now: Date): string {
  return stringify({
    drivers: [{ id: 'driver-mock', name: 'Mock device', builtin: 'mock', role: 'device' }],
    edges: sites.map(({ id, name, policy, timezone }) => ({
      id,
      name,
      description: 'A site of the demo',
      policy,
      timezone,
      timeout: timeoutSeconds,
      window_start: `0 ${halfADayAway(timezone, now)} * * *`,
      window_length: 3_600,
    })),
    systems: sites.map(({ id, name, ports }) => ({
      id: `sys-${id}`,
      name: `${name} boardroom`,
      edge_control_id: id,
      modules: ports.map((_, i) => moduleId(id, i)),
    })),
    modules: sites.flatMap(({ id, ports }) =>
      ports.map((port, i) => ({
        id: moduleId(id, i),
        name: DEVICES[i % DEVICES.length],
        driver_id: 'driver-mock',
        edge_control_id: id,
        ip: '127.0.0.1',
        port,
      })),
    ),
  });
}

/** The hour of the restore window: the demo, and the tests that break it, show the same at four in the morning as by day. */
function halfADayAway(timezone: string, now: Date): number {
  const hour = new Intl.DateTimeFormat('en', { timeZone: timezone, hour: 'numeric', hourCycle: 'h23' }).format(now);
  return (Number(hour) + 12) % 24;
}

const moduleId = (site: string, index: number): string => `mod-${site}-${index + 1}`;
export const DEVICES_PER_SITE = DEVICES.length;
