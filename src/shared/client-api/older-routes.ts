import { z } from 'zod';
import { controlRoutes as control } from './control-routes.ts';
import { documentRoutes as documents } from './document-routes.ts';
import { locationRoutes as locations } from './location-routes.ts';
import { moduleRoutes as modules } from './module-routes.ts';
import { jsonValueSchema } from './parse.ts';
import type { Route } from './route.ts';
import * as schema from './schemas.ts';
import { serverRoutes as server } from './server-routes.ts';
import { triggerRoutes as triggers } from './trigger-routes.ts';

/** Where the older generation has its routes. */
export const OLDER = '/control/api';
const SYSTEM = `${OLDER}/systems/:id`;
const MODULE = `${OLDER}/modules/:id`;

/** A route under its older path, otherwise the same. */
const at = <R extends Route>(route: R, path: string) => ({ ...route, path }) as const;

/** A list in its older form. */
const listAt = <P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType>(route: Route<P, Q, B, R>, path: string) =>
  ({ ...route, path, response: z.object({ total: z.number(), results: route.response }) }) as const;

/** The older generation, made from the newer: edges are nodes, drivers dependencies. What is not here it does not have. */
export const olderRoutes = {
  olderUserCurrent: at(server.userCurrent, `${OLDER}/users/current`),
  olderNodeList: listAt(locations.edgeList, `${OLDER}/nodes`),
  olderNodeShow: at(locations.edgeShow, `${OLDER}/nodes/:id`),
  olderZoneList: listAt(documents.zoneList, `${OLDER}/zones`),
  olderZoneShow: at(documents.zoneShow, `${OLDER}/zones/:id`),
  olderDependencyList: listAt(documents.driverList, `${OLDER}/dependencies`),
  olderDependencyShow: at(documents.driverShow, `${OLDER}/dependencies/:id`),
  olderDependencyReload: at(modules.driverReload, `${OLDER}/dependencies/:id/reload`),
  olderTriggerList: listAt(triggers.triggerList, `${OLDER}/triggers`),

  olderSystemList: listAt(documents.systemList, `${OLDER}/systems`),
  olderSystemShow: at(documents.systemShow, SYSTEM),
  olderSystemTypes: at(modules.systemTypes, `${SYSTEM}/types`),
  olderSystemStart: at(control.systemStart, `${SYSTEM}/start`),
  olderSystemStop: at(control.systemStop, `${SYSTEM}/stop`),
  olderSystemCount: {
    ...at(modules.systemCount, `${SYSTEM}/count`),
    query: schema.olderCountQuery,
    description: 'How many modules of that name a system has.',
  },
  olderExec: {
    ...at(modules.exec, `${SYSTEM}/exec`),
    params: schema.byId,
    body: schema.olderExecBody,
    response: z.array(jsonValueSchema),
    description: 'Runs a method; the answer is an array with its result.',
  },
  olderState: {
    ...at(modules.moduleStatus, `${SYSTEM}/state`),
    params: schema.byId,
    query: schema.olderStateQuery,
    response: jsonValueSchema,
    description: 'Status variables of a module; with `lookup`, one of them.',
  },
  olderFunctions: { ...at(modules.functions, `${SYSTEM}/funcs`), params: schema.byId, query: schema.olderModuleQuery },

  olderModuleList: listAt(documents.moduleList, `${OLDER}/modules`),
  olderModuleShow: at(documents.moduleShow, MODULE),
  olderModuleStart: at(control.moduleStart, `${MODULE}/start`),
  olderModuleStop: at(control.moduleStop, `${MODULE}/stop`),
  olderModulePing: at(modules.modulePing, `${MODULE}/ping`),
  olderModuleState: {
    ...at(modules.moduleState, `${MODULE}/state`),
    query: schema.olderLookupQuery,
    response: jsonValueSchema,
    description: 'Status variables of a module; with `lookup`, one of them.',
  },
  olderModuleInternalState: at(modules.moduleState, `${MODULE}/internal_state`),
} as const satisfies Record<string, Route>;
