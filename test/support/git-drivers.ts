import { expect } from 'vitest';
import { parse, stringify } from 'yaml';
import { type Client, routes } from '../../src/client-sdk/index.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import type { Scope } from '../../src/shared/foundation/scope.ts';
import { settled, startFederation, type TestFederation } from './federation.ts';
import { createRepository, type TestRepository } from './git-repository.ts';

/** A driver for the mock device. `born` tells when this code was set up; `more` is further code of its setup. */
export const driverCode = (name: string, version: string, more = ''): string => `
import { defineDriver, delimiter, z } from 'holdfast/driver';
export default defineDriver({
  name: '${name}',
  role: 'device',
  settings: z.object({}),
  tokeniser: () => delimiter('\\n'),
  setup(ctx) {
    const born = process.hrtime.bigint().toString();
    ${more}
    return { version: () => '${version}', born: () => born };
  },
});
`;

export interface GitFederation extends TestFederation {
  repository: TestRepository;
  /** The commit with which it began. */
  first: string;
  /** Runs a method of a module; an error is its text. */
  ask(method: string, module: string): Promise<Json>;
  /** Writes the wanted commit into the document of a location. */
  want(location: string, commit: string | null): Promise<void>;
}

/** A federation whose drivers `lamp` and `torch` come from git; each location that is named has a module of each: `lamp-berlin`, `torch-berlin`. */
export async function startGitFederation(scope: Scope, folder: string, locations: readonly string[]): Promise<GitFederation> {
  const repository = createRepository(folder);
  const first = repository.commit({ 'lamp.ts': driverCode('lamp', 'v1'), 'torch.ts': driverCode('torch', 'v1') });
  const world = await startFederation(scope, { timeoutSeconds: 120, environment: { HOLDFAST_DRIVERS_REPOSITORY: repository.url } });
  const { client } = world;
  const ask = (method: string, module: string): Promise<Json> =>
    client.call(routes.moduleExec, { params: { id: module, method } }).catch((error: unknown) => String(error));
  for (const location of locations) await settled(world, location);
  for (const name of ['lamp', 'torch']) await addDriver(client, name, locations);
  for (const name of ['lamp', 'torch']) {
    for (const location of locations) await expect.poll(() => ask('version', `${name}-${location}`), { timeout: 40_000 }).toBe('v1');
  }
  const want = async (location: string, commit: string | null): Promise<void> => {
    const { edges } = parse((await client.call(routes.export, {})).text) as { edges: { id: string }[] };
    const text = stringify({ edges: edges.filter(({ id }) => id === location).map((edge) => ({ ...edge, commit })) });
    await client.call(routes.apply, { body: { text } });
  };
  return { ...world, repository, first, ask, want };
}

async function addDriver(client: Client, name: string, locations: readonly string[]): Promise<void> {
  await client.call(routes.driverAdd, { body: { id: `driver-${name}`, name, builtin: name, role: 'device' } });
  for (const location of locations) {
    const { ip, port } = await client.call(routes.moduleShow, { params: { id: `mod-${location}-1` } });
    const module = { id: `${name}-${location}`, name: 'Lamp', driver_id: `driver-${name}`, edge_control_id: location, ip, port };
    await client.call(routes.moduleAdd, { body: module });
  }
}
