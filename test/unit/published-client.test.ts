import { expect, it } from 'vitest';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { startTestServer } from '../support/api-server.ts';
import { importPublishedClient } from '../support/browser.ts';
import { normalSession, power } from '../support/published-client.ts';
import { systemDocument } from '../support/sample-documents.ts';

it('the published client, unmodified, has a normal session with the real API in front of a node in memory', async () => {
  const server = await startTestServer();
  const { node } = server;
  const documents = [systemDocument('sys-berlin', { name: 'Berlin boardroom' }), systemDocument('sys-lisbon', { name: 'Lisbon boardroom' })];
  await node.store.apply(documents.map((document) => ({ op: 'put', document, expect: null })));
  node.systems.add('sys-berlin');
  node.named.set('sys-berlin/Display_1', 'mod-berlin-1');
  node.methods.set('echo', async ({ args }) => args[0] ?? null);
  node.methods.set('power', async ({ system, module, index, args }) => {
    if (module !== 'Display') throw new HoldfastError('NOT_FOUND', { kind: 'module', id: `${system}/${module}_${index}` });
    node.setStatus({ system, module, index, key: 'power', value: args[0] ?? null });
    return args[0] ?? null;
  });
  try {
    await normalSession({ origin: server.http.origin, apiKey: server.keys.operator });
    const client = await importPublishedClient(server.keys.operator);
    const lines: string[] = [];
    client.debug_events.subscribe(({ mod_id, message }) => void lines.push(`${mod_id}: ${message}`));
    await client.debug({ ...power, name: 'debug' });
    node.log('mod-berlin-1', { level: 'debug', message: 'lamp is old' });
    await expect.poll(() => lines).toEqual(['mod-berlin-1: lamp is old']);
  } finally {
    await server.close();
  }
});
