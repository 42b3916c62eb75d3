import { controlRoutes } from './control-routes.ts';
import { documentRoutes } from './document-routes.ts';
import { eventRoutes } from './event-routes.ts';
import { locationRoutes } from './location-routes.ts';
import { moduleRoutes } from './module-routes.ts';
import { olderRoutes } from './older-routes.ts';
import { repositoryRoutes } from './repository-routes.ts';
import type { Route } from './route.ts';
import { serverRoutes } from './server-routes.ts';
import { triggerRoutes } from './trigger-routes.ts';

export type { RequestOf, Route } from './route.ts';
export { pathOf } from './route.ts';

/** Every route that clients speak, of both generations. */
export const routes = {
  ...serverRoutes,
  ...locationRoutes,
  ...eventRoutes,
  ...moduleRoutes,
  ...controlRoutes,
  ...repositoryRoutes,
  ...documentRoutes,
  ...triggerRoutes,
  ...olderRoutes,
} as const satisfies Record<string, Route>;

export type RouteName = keyof typeof routes;

export const isRouteName = (text: string): text is RouteName => Object.hasOwn(routes, text);
