import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { GenericContainer, getContainerRuntimeClient, Wait } from 'testcontainers';
import { describe, expect, it } from 'vitest';
import { eventually } from '../support/couchbase/eventually.ts';

/** The store contract on a real Couchbase server, where there is a Docker engine to run it. */
const run = promisify(execFile);
const IMAGE = 'couchbase:community-7.6.2';

const reachable = await getContainerRuntimeClient().then(
  () => true,
  () => false,
);
if (!reachable) console.log('skipped: the contract on a real Couchbase server needs a Docker engine, and none was found');

describe('a real Couchbase server', () => {
  it.skipIf(!reachable)('keeps the store contract (needs a Docker engine)', { timeout: 900_000 }, async () => {
    const password = randomBytes(16).toString('hex');
    const answers = Wait.forHttp('/ui/index.html', 8091).withStartupTimeout(300_000);
    const container = await new GenericContainer(IMAGE).withExposedPorts(8091).withWaitStrategy(answers).start();
    try {
      // The node tells its clients this address, and no mapped port.
      const host = container.getIpAddress(container.getNetworkNames()[0] ?? 'bridge');
      await setUp(`http://${host}:8091`, password);
      const env = { ...process.env, CB_CONNSTR: `couchbase://admin@${host}/holdfast`, CB_PASSWORD: password };
      const { stdout } = await run('npx', ['vitest', 'run', 'test/contracts/document-store-couchbase.test.ts'], { env, maxBuffer: 64 * 1024 * 1024 });
      expect(stdout).toContain('couchbase, on a real cluster');
    } finally {
      await container.stop();
    }
  });
});

/** One node with one bucket, by its REST interface. */
async function setUp(base: string, password: string): Promise<void> {
  const authorization = `Basic ${Buffer.from(`admin:${password}`).toString('base64')}`;
  const ask = async (path: string, body?: Record<string, string>): Promise<Response> => {
    const sent = body === undefined ? {} : { method: 'POST', body: new URLSearchParams(body) };
    const answer = await fetch(base + path, { ...sent, headers: { authorization } });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer;
  };
  await ask('/clusterInit', { username: 'admin', password, port: 'SAME', services: 'kv', memoryQuota: '512', hostname: '127.0.0.1' });
  await ask('/pools/default/buckets', { name: 'holdfast', ramQuota: '256', storageBackend: 'couchstore', replicaNumber: '0' });
  const isHealthy = async (): Promise<boolean> => (await (await ask('/pools/default/buckets/holdfast')).text()).includes('"status":"healthy"');
  await eventually('the bucket is ready', isHealthy, 120_000);
}
