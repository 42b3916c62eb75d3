import type { X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { hostname, networkInterfaces, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Client, createClient, routes } from '../../src/client-sdk/index.ts';
import { Child } from '../../src/demo/child.ts';
import { siteFile } from '../../src/demo/site.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';

/** Real processes: an edge that serves the network gets its certificate from the master, and needs the master for nothing else. */

const WAIT_MS = 20_000;
const scope = new Scope();
const folder = mkdtempSync(join(tmpdir(), 'holdfast-https-'));
const edgeTls = join(folder, 'edge', 'tls');
let starts = 0;
let master: Child;
let edge: Child;
let masterEnv: Record<string, string>;
let apiKey = '';
let ca = '';
let enrolment = '';

const is = (event: string) => (line: Record<string, unknown>) => line['event'] === event;
const audited = (line: Record<string, unknown>): boolean => line['event'] === 'audit' && line['action'] === 'certificate';

function serve(name: 'master' | 'edge', env: Record<string, string>): Child {
  mkdirSync(join(folder, name), { recursive: true });
  const child = new Child({
    name,
    script: resolve('dist', 'main.js'),
    args: ['serve'],
    env: { HOLDFAST_ROLE: name, HOLDFAST_DATA: join(folder, name), HOLDFAST_DRIVER_HOSTS: '1', ...env },
    logFile: join(folder, `${name}-${(starts += 1)}.log`),
  });
  scope.defer(name, () => child.stop());
  return child;
}

const startMaster = (): Child => serve('master', masterEnv);
const startEdge = (http: string): Child =>
  serve('edge', { HOLDFAST_HTTP: http, HOLDFAST_MASTERS: masterEnv['HOLDFAST_LINK'] ?? '', HOLDFAST_ENROL: enrolment });

async function originOf(child: Child): Promise<URL> {
  return new URL(String((await child.line(is('ready'), WAIT_MS))['origin']));
}

function client(origin: string, trusted?: string): Client {
  const made = createClient({ origin, apiKey, ...(trusted === undefined ? {} : { ca: trusted }) });
  scope.defer('client', () => made.close());
  return made;
}

/** An address of this machine that other machines can dial, if it has one. */
const interfaces = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
const outside = interfaces.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? hostname();

/** What is shown to a client that trusts the CA; it throws when that is for another host. */
async function shownAt(port: string, host = '127.0.0.1'): Promise<X509Certificate> {
  const socket = connect({ host, port: Number(port), ca });
  try {
    return await new Promise<X509Certificate>((done, failed) => {
      socket.once('secureConnect', () => {
        const shown = socket.getPeerX509Certificate();
        if (shown === undefined) failed(new Error('no certificate was shown'));
        else done(shown);
      });
      socket.once('error', failed);
    });
  } finally {
    socket.destroy();
  }
}

beforeAll(async () => {
  const env = { HOLDFAST_HTTP: '127.0.0.1:0', HOLDFAST_LINK: '127.0.0.1:0', HOLDFAST_ADVERTISE: 'master.test:7443' };
  master = serve('master', env);
  const { link } = await master.line(is('master-loaded'), WAIT_MS);
  const { host, origin } = await originOf(master);
  masterEnv = { ...env, HOLDFAST_HTTP: host, HOLDFAST_LINK: String(link) };
  apiKey = readFileSync(join(folder, 'master', 'admin.key'), 'utf8').trim();
  ca = readFileSync(join(folder, 'master', 'tls', 'ca.pem'), 'utf8');
  const atMaster = client(origin);
  const site = { id: 'berlin', name: 'Berlin', policy: 'available' as const, timezone: 'Europe/Berlin', ports: [] };
  await atMaster.call(routes.apply, { body: { text: siteFile([site], 60, new Date()), dry_run: false } });
  enrolment = (await atMaster.call(routes.edgeAdd, { body: { id: 'berlin' } })).enrolment;
}, 60_000);

afterAll(async () => {
  expect(await scope.close()).toEqual([]);
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

describe('an edge that serves the network', () => {
  it('gets no certificate for a name of the master, and serves nothing, but controls its site', async () => {
    edge = startEdge('master.test:0');
    expect(await edge.line(is('waiting-for-certificate'), WAIT_MS)).toMatchObject({ hosts: ['master.test'] });
    expect(await master.line(is('certificate-refused'), WAIT_MS)).toMatchObject({ edge: 'berlin', taken: ['master.test'] });
    expect(await edge.line(is('certificate-not-renewed'), WAIT_MS)).toMatchObject({ error: { code: 'INPUT_INVALID' } });
    await edge.line((line) => is('control')(line) && line['state'] === 'holding', WAIT_MS);
    await expect(edge.line(is('listening'), 500)).rejects.toThrow('said nothing');
    await expect(master.line(audited, 1)).rejects.toThrow('said nothing');
  });

  it('can be stopped while it waits', async () => {
    edge.signal('SIGTERM');
    expect(await edge.exited).toBe('code 0');
  });

  it('waits for its master when it has none, and opens its API with the certificate that comes', async () => {
    await master.stop();
    edge = startEdge('0.0.0.0:0');
    await edge.line(is('waiting-for-certificate'), WAIT_MS);
    await edge.line((line) => is('control')(line) && line['state'] === 'holding', WAIT_MS);
    await expect(edge.line(is('listening'), 500)).rejects.toThrow('said nothing');

    master = startMaster();
    const { protocol, port } = await originOf(edge);
    expect(protocol).toBe('https:');
    expect(await master.line(audited, WAIT_MS)).toMatchObject({ edge: 'berlin' });
    for (const host of ['localhost', '127.0.0.1', outside]) {
      const seen = await client(`https://${host}:${port}`, ca).call(routes.edgeShow, { params: { id: 'berlin' } });
      expect(seen).toMatchObject({ holder: 'edge', state: 'holding' });
    }
    // A client without the CA, and one that speaks plain HTTP, get nothing.
    const trustsNobody = client(`https://127.0.0.1:${port}`).call(routes.edgeShow, { params: { id: 'berlin' } });
    await expect(trustsNobody).rejects.toMatchObject({ code: 'UNREACHABLE', facts: { problem: expect.stringContaining('unknown authority') } });
    await expect(client(`http://127.0.0.1:${port}`).call(routes.ready, {})).rejects.toMatchObject({ code: 'UNREACHABLE' });
  });

  it('has a certificate of its own key, in its own name, for its own hosts only', async () => {
    const shown = await shownAt((await originOf(edge)).port);
    expect(shown.toLegacyObject().subject.CN).toBe('berlin');
    expect(shown.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(shown.ca).toBe(false);
    expect(shown.checkHost(hostname())).toBeDefined();
    expect(shown.checkHost('master.test')).toBeUndefined();
    expect(statSync(join(edgeTls, 'edge.key')).mode & 0o777).toBe(0o600);
  });

  it('serves at once after a restart without a master, with the same certificate', async () => {
    const before = await shownAt((await originOf(edge)).port);
    await Promise.all([edge.stop(), master.stop()]);
    edge = startEdge('0.0.0.0:0');
    const { port } = await originOf(edge);
    await expect(edge.line(is('waiting-for-certificate'), 1)).rejects.toThrow('said nothing');
    expect((await shownAt(port)).fingerprint256).toBe(before.fingerprint256);
    await client(`https://127.0.0.1:${port}`, ca).call(routes.ready, {});
  });

  it('serves what it has while its hosts have changed, and shows the next certificate without a restart', async () => {
    await edge.stop();
    edge = startEdge(`${outside}:0`);
    const { port } = await originOf(edge);
    expect((await shownAt(port, outside)).subjectAltName).toContain('localhost');
    master = startMaster();
    await edge.line(is('certificate-stored'), WAIT_MS);
    await expect.poll(async () => (await shownAt(port, outside)).subjectAltName).not.toContain('localhost');
  });

  it('stays with plain HTTP on loopback, and asks for nothing', async () => {
    await edge.stop();
    edge = startEdge('127.0.0.1:0');
    expect((await originOf(edge)).protocol).toBe('http:');
    await expect(edge.line(is('waiting-for-certificate'), 1)).rejects.toThrow('said nothing');
  });
});
