import { afterAll, beforeAll, it } from 'vitest';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { startFederation, type TestFederation } from '../support/federation.ts';
import { logSession, normalSession } from '../support/published-client.ts';

/** The published client, unmodified, against an edge: a real process that drives its devices. */

const scope = new Scope();
let world: TestFederation;
beforeAll(async () => {
  world = await startFederation(scope, { timeoutSeconds: 15 });
}, 180_000);
afterAll(async () => {
  await scope.close();
});

it('lists, pages, shows, binds and executes through an edge', async () => {
  await normalSession({ origin: world.federation.edge('berlin')?.origin ?? '', apiKey: world.federation.apiKey });
});

it('sees the log lines of a driver that runs there, by name and by module id', async () => {
  await logSession(world);
});
