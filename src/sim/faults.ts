import type { Party, Policy } from '../shared/model/control.ts';
import type { SimRandom } from './random.ts';
import type { Seat } from './seat.ts';
import type { Site, World } from './world.ts';

/** Where a fault strikes. */
export interface Target {
  world: World;
  site: Site;
  seat: Seat;
  random: SimRandom;
}

/** Strikes, and gives the way to make it good again; null: there is nothing to make good. */
type Fault = (target: Target) => (() => void) | null;

const cut = (direction?: 'to-master' | 'to-edge'): Fault => ({ site: { line } }) => {
  line.cut(direction);
  return () => line.heal();
};

const flapping: Fault = ({ world, site: { line }, random }) => {
  let left = 6;
  const flap = (): void => {
    left -= 1;
    line.reset();
    if (left > 0) world.timeline.after(random.between(1_000, 6_000), flap);
  };
  flap();
  return null;
};

const crash = (power: boolean): Fault => ({ world, seat }) => {
  world.kill(seat, power);
  return () => world.boot(seat);
};

/** Crashes again while it claims: it must not put a takeover off for ever. */
const restartLoop: Fault = ({ world, seat, random }) => {
  let left = 5;
  const again = (): void => {
    world.kill(seat, false);
    left -= 1;
    world.timeline.after(random.between(300, 2_500), () => {
      world.boot(seat);
      if (left > 0) world.timeline.after(random.between(100, 4_000), again);
    });
  };
  again();
  return null;
};

const shutDown: Fault = ({ world, seat }) => {
  world.shutDown(seat);
  return () => {
    // It may still be stopping: its supervisor starts it when it is gone.
    world.kill(seat, false);
    world.boot(seat);
  };
};

const pause: Fault = ({ seat }) => {
  seat.machine.pause();
  return () => seat.machine.resume();
};

const clockJump: Fault = ({ seat, random }) => {
  seat.machine.jumpWall(random.between(-2, 2) * 3_600_000);
  return null;
};

const slowDisk: Fault = ({ seat, random }) => {
  seat.disk.slowMs = random.between(100, 4_000);
  return () => {
    seat.disk.slowMs = 0;
  };
};

const fullDisk: Fault = ({ seat }) => {
  seat.disk.full = true;
  return () => {
    seat.disk.full = false;
  };
};

const brokenHosts: Fault = ({ seat }) => {
  const { hands } = seat;
  if (hands !== null) hands.broken = true;
  return () => {
    if (seat.hands !== null) seat.hands.broken = false;
  };
};

const order = (kind: 'takeover' | 'handback' | 'pause'): Fault => ({ world, site, random }) => {
  world.order(site.id, kind, random.chance(0.3) ? site.seat : world.master);
  return kind === 'pause' ? (): void => world.order(site.id, 'resume') : null;
};

const windowOpens: Fault = ({ world, site, random }) => {
  const now = new Date(world.master.machine.wallMs());
  now.setUTCMinutes(now.getUTCMinutes() + (random.chance(0.5) ? 0 : 1));
  world.edit(site.id, { window_start: `${now.getUTCMinutes()} ${now.getUTCHours()} * * *`, window_length: 120 });
  return () => world.edit(site.id, { window_start: null });
};

const termsChange: Fault = ({ world, site, random }) => {
  const policy: Policy = random.chance(0.5) ? 'available' : 'exclusive';
  world.edit(site.id, { policy, failover: random.chance(0.8), timeout: random.pick([8, 12, 20]) });
  return () => world.edit(site.id, { failover: true });
};

const faults = {
  'cut': { fault: cut() },
  'cut-to-master': { fault: cut('to-master') },
  'cut-to-edge': { fault: cut('to-edge') },
  'half-open': { fault: ({ site: { line } }) => (line.halfOpen(), null) },
  'reset': { fault: ({ site: { line } }) => (line.reset(), null) },
  'slow-line': {
    fault: ({ site: { line }, random }) => {
      line.slow(random.between(50, 1_500), random.next() * 0.2);
      return () => line.heal();
    },
  },
  'flapping': { fault: flapping },
  'edge-crash': { at: 'edge', fault: crash(false) },
  'edge-power-cut': { at: 'edge', fault: crash(true) },
  'edge-restart-loop': { at: 'edge', fault: restartLoop },
  'edge-shut-down': { at: 'edge', fault: shutDown },
  'edge-pause': { at: 'edge', fault: pause },
  'edge-clock-jump': { at: 'edge', fault: clockJump },
  'edge-slow-disk': { at: 'edge', fault: slowDisk },
  'edge-full-disk': { at: 'edge', fault: fullDisk },
  'edge-broken-hosts': { at: 'edge', fault: brokenHosts },
  'master-crash': { at: 'master', fault: crash(false) },
  'master-power-cut': { at: 'master', fault: crash(true) },
  'master-shut-down': { at: 'master', fault: shutDown },
  'master-pause': { at: 'master', fault: pause },
  'master-clock-jump': { at: 'master', fault: clockJump },
  'master-slow-disk': { at: 'master', fault: slowDisk },
  'master-full-disk': { at: 'master', fault: fullDisk },
  'master-broken-hosts': { at: 'master', fault: brokenHosts },
  'device-dead': {
    fault: ({ world, site, random }) => {
      const device = random.pick(world.devices.of(site.id));
      device.die();
      return () => {
        device.dead = false;
      };
    },
  },
  'devices-unreachable': {
    fault: ({ world, site }) => {
      world.devices.setReachable(world.master.machine, site.id, false);
      return () => world.devices.setReachable(world.master.machine, site.id, true);
    },
  },
  'slow-stop': {
    fault: ({ world, site, random }) => {
      for (const { hands } of [world.master, site.seat]) if (hands !== null) hands.stopMs = random.between(500, 4_000);
      return null;
    },
  },
  'order-takeover': { fault: order('takeover') },
  'order-handback': { fault: order('handback') },
  'order-pause': { fault: order('pause') },
  'window-opens': { fault: windowOpens },
  'terms-change': { fault: termsChange },
  'override': { fault: ({ world, site }) => (world.order(site.id, 'takeover', site.seat), null) },
} as const satisfies Record<string, { at?: Party; fault: Fault }>;

export type FaultKind = keyof typeof faults;
export const faultKinds = Object.keys(faults) as FaultKind[];

/** Lets a fault strike. Null: it passes by itself. */
export function strike(kind: FaultKind, world: World, site: Site, random: SimRandom): (() => void) | null {
  const row: { at?: Party; fault: Fault } = faults[kind];
  const seat = row.at === 'master' ? world.master : site.seat;
  world.trace.add('fault', kind, { site: site.id });
  return row.fault({ world, site, seat, random });
}

/** The end of all faults: everything works and everybody runs. */
export function repair(world: World): void {
  for (const { line } of world.sites.values()) line.heal();
  for (const device of world.devices.all()) device.dead = false;
  world.devices.reachAll();
  for (const seat of world.seats) {
    seat.disk.slowMs = 0;
    seat.disk.full = false;
    seat.machine.resume();
    world.boot(seat);
    if (seat.hands === null) continue;
    seat.hands.broken = false;
    seat.hands.stopMs = 20;
  }
}
