import { build } from 'esbuild';
import { afterEach, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import type * as browserSdk from '../../src/client-sdk/browser.ts';
import { startTestServer, type TestServer } from '../support/api-server.ts';

let server: TestServer | null = null;
afterEach(() => server?.close());

/** What an application bundles: the SDK under its public name, as package.json resolves it for browsers. */
async function bundle(): Promise<string> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: `export * from 'holdfast/client'`, resolveDir: process.cwd() },
    bundle: true,
    platform: 'browser',
    format: 'esm',
    write: false,
    metafile: true,
    // Anything of Node would fail to resolve: nothing is external.
    external: [],
  });
  const packages = Object.keys(metafile.inputs).filter((file) => file.includes('node_modules/')).map((file) => /node_modules\/([^/]+)/.exec(file)?.[1]);
  expect([...new Set(packages)]).toEqual(['zod']);
  return outputFiles[0]?.text ?? '';
}

it('a bundle for browsers builds without anything of Node, and speaks to a server as a page does', async () => {
  const text = await bundle();
  expect(/(?:from|import|require)\s*\(?["']node:/.test(text)).toBe(false);
  server = await startTestServer();
  const { node, http, keys } = server;
  node.methods.set('power', async ({ args }) => args[0] ?? null);
  node.setStatus({ system: 'sys-1', module: 'Display', index: 1, key: 'power', value: 'on' });
  const items = new Map<string, string>();
  const localStorage = { getItem: (key: string) => items.get(key) ?? null, setItem: (key: string, value: string) => void items.set(key, value) };
  Object.assign(globalThis, { WebSocket, localStorage });
  const sdk = (await import(`data:text/javascript;base64,${Buffer.from(text).toString('base64')}`)) as typeof browserSdk;

  const client = sdk.createClient({ origin: http.origin, apiKey: keys.viewer });
  expect(await client.call(sdk.routes.version, {})).toMatchObject({ version: '1.2.3' });
  await expect(client.call(sdk.routes.keyList, {})).rejects.toMatchObject({ code: 'FORBIDDEN' });

  const away = sdk.createClient({ origin: 'http://127.0.0.1:9', apiKey: keys.viewer });
  await expect(away.call(sdk.routes.version, {}), 'what a browser keeps from its page').rejects.toThrow(/HOLDFAST_ORIGINS/);

  const session = await sdk.connect({ origins: [http.origin], apiKey: keys.operator, storage: sdk.browserStorage() });
  try {
    const power = { system: 'sys-1', module: 'Display', name: 'power' };
    const seen: unknown[] = [];
    session.bind(power, (value) => void seen.push(value));
    expect(await session.exec(power, [false])).toBe(false);
    await expect.poll(() => seen).toEqual(['on']);
    await expect.poll(() => items.get('holdfast-members')).toContain(http.origin);
  } finally {
    session.close();
  }
});
