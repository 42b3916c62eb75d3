import { jsonValueSchema } from './parse.ts';
import { API, command, control, read } from './route.ts';
import type { Route } from './route.ts';
import * as schema from './schemas.ts';

const SYSTEM = `${API}/systems/:id`;
const MODULE = `${API}/modules/:id`;
const ofSystem = { ...read, params: schema.byId } as const;

/** Modules at work: by their place in a system, or by their id. */
export const moduleRoutes = {
  exec: {
    ...command,
    path: `${SYSTEM}/:module/:method`,
    params: schema.ofMethod,
    query: schema.execQuery,
    body: schema.execBody,
    response: jsonValueSchema,
    description: 'Runs a method; the body is the array of its arguments, the answer its bare result. X-Holdfast-Served-By names the node.',
  },
  moduleStatus: {
    ...read,
    path: `${SYSTEM}/:module`,
    params: schema.ofModule,
    response: schema.statusSchema,
    description: 'All status variables of a module.',
  },
  variable: {
    ...read,
    path: `${SYSTEM}/:module/:key`,
    params: schema.ofVariable,
    response: jsonValueSchema,
    description: 'One status variable; null when it was never set.',
  },
  watch: {
    ...read,
    path: `${SYSTEM}/:module/:key/watch`,
    answer: 'events',
    params: schema.ofVariable,
    response: schema.statusEventSchema,
    description: 'Server-sent events: the variable now and on each change; a slow reader gets the last value only.',
  },
  debug: {
    ...read,
    role: 'operator',
    audited: 'command',
    path: `${SYSTEM}/debug/:module`,
    answer: 'events',
    params: schema.ofModule,
    response: schema.logLineSchema,
    description: 'Server-sent events: log lines of a module, whoever drives it. A slow reader is told how many it missed.',
  },
  functions: {
    ...read,
    path: `${SYSTEM}/functions/:module`,
    params: schema.ofModule,
    response: schema.functionsSchema,
    description: 'Public methods of a module, with their arguments.',
  },
  systemTypes: { ...ofSystem, path: `${SYSTEM}/types`, response: schema.countsSchema, description: 'How many modules of each name a system has.' },
  systemCount: {
    ...ofSystem,
    path: `${SYSTEM}/count`,
    query: schema.countQuery,
    response: schema.countsSchema,
    description: 'The same; with `module`, `count` of that name only.',
  },

  modulePing: {
    ...read,
    method: 'POST',
    path: `${MODULE}/ping`,
    params: schema.byId,
    response: schema.pingSchema,
    description: 'Is the device connected, by what its module reports? Nothing is sent to the device.',
  },
  moduleState: {
    ...read,
    path: `${MODULE}/state`,
    params: schema.byId,
    response: schema.statusSchema,
    description: 'All status variables of a module, by its id.',
  },
  moduleVariable: {
    ...read,
    path: `${MODULE}/state/:key`,
    params: schema.ofKey,
    response: jsonValueSchema,
    description: 'One status variable of a module, by its id.',
  },
  moduleError: {
    ...read,
    path: `${MODULE}/error`,
    params: schema.byId,
    response: schema.linesSchema,
    description: 'Why a module does not work, line by line; empty: nothing is known against it. The same as its status variable `problem`.',
  },
  moduleExec: {
    ...command,
    path: `${MODULE}/exec/:method`,
    params: schema.ofModuleId,
    query: schema.execQuery,
    body: schema.execBody,
    response: jsonValueSchema,
    description: 'Runs a method of a module, by its id.',
  },
  moduleLoad: {
    ...control,
    adminOf: 'module',
    path: `${MODULE}/load`,
    params: schema.byId,
    response: schema.loadedSchema,
    description: 'Starts a module that is wanted to run anew, with the newest code of its driver. Code that cannot be loaded leaves it as it is.',
  },
  driverReload: {
    ...control,
    adminOf: 'driver',
    path: `${API}/drivers/:id/reload`,
    params: schema.byId,
    query: schema.reloadQuery,
    response: schema.reloadedSchema,
    description:
      'Puts the newest code of a driver in the place of what its modules run, wherever they are controlled, or in one `location`. ' +
      'Code that cannot be loaded leaves the old running.',
  },
} as const satisfies Record<string, Route>;
