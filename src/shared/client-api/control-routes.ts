import { API, control } from './route.ts';
import type { Route } from './route.ts';
import * as schema from './schemas.ts';

const SYSTEM = `${API}/systems/:id`;
const MODULE = `${API}/modules/:id`;
const EDGE = `${API}/edges/:id`;
const wanted = { ...control, params: schema.byId, response: schema.startedSchema } as const;

/** What administrators of a location ask of its modules, at every server. */
export const controlRoutes = {
  edgeStart: {
    ...wanted,
    adminOf: 'location',
    path: `${EDGE}/start`,
    body: schema.orderBody,
    description: 'Wants the modules of a location to run, but those with `ignore_startstop`; `dry_run` only counts.',
  },
  edgeStop: {
    ...wanted,
    adminOf: 'location',
    path: `${EDGE}/stop`,
    body: schema.orderBody,
    description: 'Wants the modules of a location to be stopped, but those with `ignore_startstop`; `dry_run` only counts.',
  },
  systemStart: {
    ...wanted,
    adminOf: 'system',
    path: `${SYSTEM}/start`,
    description: 'Wants the modules of a system to run, but those with `ignore_startstop`.',
  },
  systemStop: {
    ...wanted,
    adminOf: 'system',
    path: `${SYSTEM}/stop`,
    description: 'Wants the modules of a system to be stopped, but those with `ignore_startstop`.',
  },
  systemExpire: {
    ...control,
    adminOf: 'system',
    path: `${SYSTEM}/expire`,
    params: schema.byId,
    response: schema.expiredSchema,
    description: 'Reads anew what this server, and whoever controls the system, worked out from its documents: which module `Display_1` is.',
  },

  moduleStart: { ...wanted, adminOf: 'module', path: `${MODULE}/start`, description: 'Wants a module to run.' },
  moduleStop: { ...wanted, adminOf: 'module', path: `${MODULE}/stop`, description: 'Wants a module to be stopped.' },
  moduleUnload: {
    ...control,
    adminOf: 'module',
    path: `${MODULE}/unload`,
    params: schema.byId,
    response: schema.unloadedSchema,
    description: 'Stops a module where it runs, and leaves it so until `load`, `start`, a restart or a move of control. Its document stays as it is.',
  },

  driverEdit: {
    ...control,
    role: 'admin',
    path: `${API}/drivers/:id/edit`,
    params: schema.byId,
    query: schema.reloadQuery,
    body: schema.driverEditBody,
    response: schema.reloadedSchema,
    description:
      'Tries another content of one file of a driver live, at all of its modules or at `modules`; the file stays as it is. ' +
      'It lasts until the next reload, until `revert`, or until the module starts anew.',
  },
  driverRevert: {
    ...control,
    adminOf: 'driver',
    path: `${API}/drivers/:id/revert`,
    params: schema.byId,
    query: schema.reloadQuery,
    body: schema.driverRevertBody,
    response: schema.reloadedSchema,
    description: 'Takes back what is tried live: its modules run what the others of the driver run.',
  },
} as const satisfies Record<string, Route>;
