import { afterEach, beforeEach, expect, it } from 'vitest';
import * as sdk from '../../src/client-sdk/index.ts';
import { startTestServer, type TestServer } from '../support/api-server.ts';
import { systemDocument } from '../support/sample-documents.ts';
import { tempFolders } from '../support/temp-folder.ts';
import { read } from '../tidy/support/sources.ts';

/** docs/clients.md: what it shows runs, word for word. */

const blocks = [...read('docs/clients.md').matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] ?? '');
type Runner = (...values: unknown[]) => Promise<void>;
const AsyncFunction = (async () => undefined).constructor as new (...text: string[]) => Runner;

/** Runs a block with what it imports from the SDK, and with what its application has. */
async function run(block: string, application: Record<string, unknown>): Promise<void> {
  const [, imported = ''] = /^import \{ (.*) \} from 'holdfast\/client';/.exec(block) ?? [];
  const names = imported.split(', ');
  const exported = names.map((name) => (sdk as Record<string, unknown>)[name]);
  expect(exported).not.toContain(undefined);
  await new AsyncFunction(...names, ...Object.keys(application), block.replace(/^import .*\n/, ''))(...exported, ...Object.values(application));
}

const tempFolder = tempFolders();
let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
  const { node } = server;
  await node.store.apply([{ op: 'put', document: systemDocument('sys-berlin'), expect: null }]);
  node.systems.add('sys-berlin');
  node.methods.set('power', async ({ args }) => args[0] ?? null);
});
afterEach(() => server.close());

it('each block runs as it stands', async () => {
  const { http, keys, node } = server;
  const shown: unknown[] = [];
  const application = { origin: http.origin, apiKey: keys.operator };
  expect(blocks.length).toBe(4);
  const [live = '', stored = '', rest = '', published = ''] = blocks;
  await run(live, { ...application, show: (value: unknown) => void shown.push(value) });
  expect(shown).toContainEqual(expect.objectContaining({ stale: true }));
  await run(stored, { ...application, file: `${tempFolder()}/members` });
  await run(rest, { ...application, members: [] });
  expect(node.execs.map(({ args }) => args)).toEqual([[true], [true]]);
  const set: unknown[] = [];
  const setup = async (options: unknown): Promise<void> => void set.push(options);
  await run(published, { ...application, host: new URL(http.origin).host, auth_uri: '/a', token_uri: '/t', redirect_uri: '/r', setup });
  expect(set).toHaveLength(1);
});
