import { parseRestoreWindow, upcoming } from '../../shared/control/restore-window.ts';
import { closest } from '../../shared/foundation/closest.ts';
import type { ModuleFacts, SiteFacts } from './facts.ts';
import { plural } from '../format.ts';
import { type Finding, orOk, problem, warning } from './finding.ts';

/** Tries out what may become a restore window. */
export const TRY_WINDOW = '`holdfast window next --cron "<rule>" --timezone <zone>` tries them out';

/** Checks of documents: what a file may say, and what nobody can have meant. */
export function checkSite(site: SiteFacts, nowMs: number): Finding[] {
  const bad = [...windows(site, nowMs), ...systems(site), ...drivers(site), ...sharedDevices(site)];
  const counts = [plural(site.systems.length, 'system'), plural(site.modules.length, 'module'), plural(site.drivers.length, 'driver')];
  return [...orOk(bad, 'documents', counts.join(', ')), ...devices(site)];
}

function windows({ windows: found }: SiteFacts, nowMs: number): Finding[] {
  return found.flatMap(({ location, start, length, timezone }): Finding[] => {
    const fix = `correct window_start and timezone of ${location} with \`holdfast apply -f <file>\`; ${TRY_WINDOW}`;
    try {
      const window = parseRestoreWindow({ window_start: start, window_length: length, timezone });
      if (window === null || upcoming(window, nowMs, 1).length > 0) return [];
      return [problem('restore window', `that of ${location} never opens: "${window.start}"`, fix)];
    } catch (error) {
      return [problem('restore window', `that of ${location} never opens: ${error instanceof Error ? error.message : String(error)}`, fix)];
    }
  });
}

function systems({ systems: found, modules }: SiteFacts): Finding[] {
  const known = new Set(modules.map(({ id }) => id));
  const listed = new Set(found.flatMap((system) => system.modules));
  return [
    ...found.flatMap((system) =>
      system.modules
        .filter((id) => !known.has(id))
        .map((id) => problem(
          'systems',
          `${system.id} lists the module ${id}, which does not exist`,
          `\`holdfast apply -f <file>\`, which has the module ${id}, or the system ${system.id} without it`,
        )),
    ),
    ...modules
      .filter(({ id }) => !listed.has(id))
      .map(({ id }) => warning(
        'modules',
        `no system lists ${id}: nobody can call it by name`,
        `list ${id} in the modules of a system with \`holdfast apply -f <file>\`, or remove it`,
      )),
  ];
}

function drivers({ drivers: found, modules, builtins }: SiteFacts): Finding[] {
  const known = new Set(found.map(({ id }) => id));
  const missing = modules
    .filter(({ driver_id }) => !known.has(driver_id))
    .map(({ id, driver_id }) => problem(
      'drivers',
      `${id} needs the driver ${driver_id}, which does not exist`,
      `\`holdfast apply -f <file>\`, which has the driver ${driver_id}`,
    ));
  const unknown = found
    .filter(({ builtin }) => builtins !== null && !builtins.includes(builtin))
    .map(({ id, builtin }) => {
      const meant = closest(builtin, builtins ?? []);
      const fix = meant === null ? 'put its file into HOLDFAST_DRIVERS' : `set builtin to ${meant} with \`holdfast apply -f <file>\``;
      return problem('drivers', `${id} names "${builtin}", which is neither built in nor in HOLDFAST_DRIVERS`, fix);
    });
  return [...missing, ...unknown];
}

/** Many devices take one connection only: the second module would push out the first, over and over. */
function sharedDevices({ modules }: SiteFacts): Finding[] {
  const holding = modules.filter(({ ip, port, udp, makebreak, running }) => running && ip !== '' && port !== 0 && !udp && !makebreak);
  const byAddress = new Map<string, ModuleFacts[]>();
  for (const module of holding) byAddress.set(`${module.ip}:${module.port}`, [...(byAddress.get(`${module.ip}:${module.port}`) ?? []), module]);
  return [...byAddress]
    .filter(([, sharing]) => sharing.length > 1)
    .map(([address, sharing]) => {
      const names = sharing.map(({ id }) => id).join(', ');
      return warning(
        'modules',
        `${names} keep a connection each to ${address}`,
        'use one module for the device, or set makebreak: true with `holdfast apply -f <file>` if it takes only one connection',
      );
    });
}

function devices(site: SiteFacts): Finding[] {
  const away = site.modules
    .filter(({ running, connected, problem: why }) => running && (connected === false || why !== null))
    // Their status is that of the last holder, and that nobody holds them is said with their location.
    .filter(({ location }) => location === null || !site.unheld.includes(location));
  return away.map((module) => {
    const { id, ip, port, problem: why } = module;
    const [system, name] = nameInSystem(module, site) ?? ['<system>', '<module>'];
    const shows = `\`holdfast get ${system} ${name}\``;
    if (why !== null) return problem(
      'devices',
      `${id} does not work: ${why}`,
      `correct what it says with \`holdfast apply -f <file>\`, in the driver, or at the server that drives it; ${shows} shows whether it works then`,
    );
    const where = ip === '' ? '' : ` (${ip}${port === 0 ? '' : `:${port}`})`;
    return problem('devices', `${id}${where} is not connected`, `check power and network of the device; ${shows} shows its status`);
  });
}

/** Such as sys-1 and Display_2: the number counts modules of that name in the system. null: it is in none. */
export function nameInSystem({ id, name }: ModuleFacts, { systems: found, modules }: SiteFacts): [system: string, name: string] | null {
  const system = found.find((each) => each.modules.includes(id));
  if (system === undefined) return null;
  const namesakes = new Set(modules.filter((module) => module.name === name).map((module) => module.id));
  return [system.id, `${name}_${system.modules.filter((each) => namesakes.has(each)).indexOf(id) + 1}`];
}
