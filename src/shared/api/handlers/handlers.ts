import type { RouteName } from '../../client-api/routes.ts';
import { controlHandlers } from './control-handlers.ts';
import { credentialHandlers } from './credential-handlers.ts';
import { documentHandlers } from './document-handlers.ts';
import { eventHandlers } from './event-handlers.ts';
import type { Handler, HandlerDeps } from './handler.ts';
import { enrolmentHandlers, locationHandlers } from './location-handlers.ts';
import { moduleHandlers } from './module-handlers.ts';
import { olderHandlers } from './older-handlers.ts';
import { repositoryHandlers } from './repository-handlers.ts';
import { serverHandlers } from './server-handlers.ts';
import { settingsHandlers } from './settings-handlers.ts';
import { triggerHandlers } from './trigger-handlers.ts';

export type Handlers = Record<RouteName, Handler>;

export function createHandlers(deps: HandlerDeps): Handlers {
  const newer = {
    ...serverHandlers(deps),
    ...credentialHandlers(deps),
    ...locationHandlers(deps),
    ...enrolmentHandlers(deps),
    ...eventHandlers(deps),
    ...moduleHandlers(deps),
    ...controlHandlers(deps),
    ...repositoryHandlers(deps),
    ...documentHandlers(deps),
    ...settingsHandlers(deps),
    ...triggerHandlers(deps),
  };
  return { ...newer, ...olderHandlers(deps, newer) };
}
