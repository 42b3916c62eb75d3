import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { localCommands } from '../../src/local-commands.ts';
import { createSystemRandom } from '../../src/shared/adapters/random/system-random.ts';
import { openServerIdentity } from '../../src/shared/adapters/tls/certificates.ts';
import { ClusterServer } from '../support/couchbase/cluster-server.ts';
import { cli, type CliResult, type CliSetting } from '../support/cli-run.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { tempFolders } from '../support/temp-folder.ts';

/** The real commands over real HTTP, to servers that answer as the documentation of Couchbase says. */
const folder = tempFolders();
const servers: ClusterServer[] = [];
let centre: ClusterServer;
let site: ClusterServer;
const files: Record<string, string> = { 'centre.password': 'secret-of-the-centre\n', 'site.password': 'secret-of-the-site\n', 'other.password': 'wrong-one' };

async function server(password: string | null, tls: { cert: string; key: string } | null = null): Promise<ClusterServer> {
  const made = new ClusterServer(password);
  servers.push(made);
  await made.start(tls);
  return made;
}
beforeEach(async () => {
  centre = await server('secret-of-the-centre');
  site = await server(null);
});
afterEach(async () => {
  const all = servers.splice(0);
  for (const one of all) await one.close();
  expect(all.flatMap(({ unknown }) => unknown)).toEqual([]);
});

const run = (setting: Partial<CliSetting>, ...argv: string[]): Promise<CliResult> =>
  cli({ clock: new FakeClock(), xdcr: localCommands.xdcr, files, ...setting }, 'xdcr', ...argv);
const atCentre = (): string[] => ['--centre', centre.address(), '--centre-password-file', 'centre.password', '--plain'];
const both = (): string[] => [...atCentre(), '--site', site.address('holdfast', 'admin'), '--site-password-file', 'site.password', '--name', 'berlin'];
const setUp = (...more: string[]): Promise<CliResult> => run({}, 'setup', ...both(), ...more);
const status = async (): Promise<unknown> => JSON.parse((await run({}, '-o', 'json', 'status', ...atCentre())).out) as unknown;
const id = 'abc123/holdfast/holdfast';

const BUCKET = ['POST /pools/default/buckets'];
const COLLECTIONS = [
  'POST /pools/default/buckets/holdfast/scopes',
  'POST /pools/default/buckets/holdfast/scopes/holdfast/collections',
  'POST /pools/default/buckets/holdfast/scopes/holdfast/collections',
  'POST /pools/default/buckets/holdfast/scopes',
  'POST /pools/default/buckets/holdfast/scopes/holdfast-private/collections',
];

describe('holdfast xdcr setup', () => {
  it('makes everything, in the documented order, from a node that nobody has set up', async () => {
    site.warmUps = 1;
    const { code, out, err } = await setUp('--yes');
    expect([code, err]).toEqual([0, '']);
    expect(site.changes).toEqual(['POST /clusterInit', ...BUCKET, ...COLLECTIONS]);
    expect(centre.changes).toEqual([...BUCKET, ...COLLECTIONS, 'POST /pools/default/remoteClusters', 'POST /controller/createReplication']);
    const formOf = (of: ClusterServer, path: string): unknown => of.calls.find((call) => call.method === 'POST' && call.path === path)?.form;
    expect(formOf(site, '/clusterInit')).toEqual({
      hostname: '127.0.0.1', username: 'admin', password: 'secret-of-the-site', services: 'kv', memoryQuota: '512', port: 'SAME',
    });
    expect(site.calls.find(({ path }) => path === '/clusterInit')?.authorization).toBeNull();
    const bucket = { name: 'holdfast', ramQuota: '256', storageBackend: 'couchstore', replicaNumber: '0', conflictResolutionType: 'seqno' };
    expect([formOf(site, '/pools/default/buckets'), formOf(centre, '/pools/default/buckets')]).toEqual([bucket, bucket]);
    expect(formOf(centre, '/pools/default/remoteClusters')).toEqual({
      name: 'berlin', hostname: site.origin.replace('http://', ''), username: 'admin', password: 'secret-of-the-site', secureType: 'none',
    });
    expect(formOf(centre, '/controller/createReplication')).toEqual({
      replicationType: 'continuous', fromBucket: 'holdfast', toCluster: 'berlin', toBucket: 'holdfast', collectionsExplicitMapping: 'true',
      colMappingRules: '{"holdfast.documents":"holdfast.documents","holdfast.indexes":"holdfast.indexes","holdfast-private.log":"holdfast-private.log"}',
    });
    expect(out).toContain('password=***');
    expect(out).not.toMatch(/secret-of/);
    expect(out).toContain('Done: 15 calls.');
  });

  it('changes nothing the second time', async () => {
    await setUp('--yes');
    const before = [centre.changes, site.changes];
    expect(await setUp('--yes')).toEqual({ code: 0, out: 'There is nothing to change.\n', err: '' });
    expect([centre.changes, site.changes]).toEqual(before);
  });

  it('goes on where it broke off', async () => {
    centre.instead = ({ path, method }) => (method === 'POST' && path === '/pools/default/remoteClusters' ? { status: 500, body: 'Unexpected server error' } : null);
    const { code, err } = await setUp('--yes');
    expect([code, err]).toEqual([1, expect.stringMatching(/^error: POST \/pools\/default\/remoteClusters at the centre was answered with 500: Unexpected server error\nnext: .*repeat/)]);
    centre.instead = () => null;
    site.buckets.get('holdfast')?.scopes.set('holdfast', ['documents']);
    const made = [centre.changes.length, site.changes.length];
    expect((await setUp('--yes')).code).toBe(0);
    expect(centre.changes.slice(made[0])).toEqual(['POST /pools/default/remoteClusters', 'POST /controller/createReplication']);
    expect(site.changes.slice(made[1])).toEqual(['POST /pools/default/buckets/holdfast/scopes/holdfast/collections']);
  });

  it('only says what it would do in a dry run, also to a node that nobody can ask yet', async () => {
    const { code, out } = await setUp('--dry-run');
    expect(code).toBe(0);
    expect([...centre.changes, ...site.changes]).toEqual([]);
    expect(out).toContain('password=***');
    expect(out).toContain('Dry run: nothing was changed.');
    expect(out).not.toMatch(/secret-of/);
    const planned = JSON.parse((await run({}, '-o', 'json', 'setup', ...both(), '--dry-run')).out) as { changes: unknown[]; dry_run: boolean };
    expect([...centre.changes, ...site.changes]).toEqual([]);
    // It says what is done then.
    expect(JSON.parse((await run({}, '-o', 'json', 'setup', ...both(), '--yes')).out)).toEqual({ ...planned, dry_run: false });
    expect(planned.changes).toHaveLength(15);
  });

  it('asks first, and a no changes nothing', async () => {
    const { code, err } = await run({ answers: ['n'] }, 'setup', ...both());
    expect([code, err]).toEqual([1, expect.stringContaining('Make 15 calls? [y/N]')]);
    expect([...centre.changes, ...site.changes]).toEqual([]);
  });

  it('resumes a replication that is paused, and mends what it maps', async () => {
    await setUp('--yes');
    const replication = centre.replications.get(id);
    Object.assign(replication ?? {}, { paused: true, mapping: { collectionsExplicitMapping: 'false' } });
    const before = centre.calls.length;
    expect((await setUp('--yes')).code).toBe(0);
    expect(centre.calls.slice(before).filter(({ method }) => method === 'POST')).toMatchObject([
      { path: `/settings/replications/${encodeURIComponent(id)}`, form: { pauseRequested: 'false', collectionsExplicitMapping: 'true' } },
    ]);
    expect(replication?.paused).toBe(false);
    expect((await setUp('--yes')).out).toBe('There is nothing to change.\n');
  });

  it('tells the centre when the site has moved, and refuses a new cluster under a known name', async () => {
    await setUp('--yes');
    const reference = centre.references.get('berlin');
    Object.assign(reference?.form ?? {}, { hostname: 'elsewhere:8091' });
    const before = centre.changes.length;
    await setUp('--yes');
    expect(centre.changes.slice(before)).toEqual(['POST /pools/default/remoteClusters/berlin']);
    site = await server(null);
    expect((await setUp('--yes')).err).toContain('the centre knows another cluster as berlin: holdfast xdcr remove it first');
  });

  it('refuses a Community Edition, and buckets that resolve conflicts in different ways', async () => {
    site.isEnterprise = false;
    expect((await setUp('--yes')).err).toContain('it is a Community Edition, whose licence and servers refuse XDCR: use HOLDFAST_REPLICATION=feed');
    site.isEnterprise = true;
    centre.buckets.set('holdfast', { conflictResolutionType: 'lww', warmUps: 0, scopes: new Map() });
    expect((await setUp('--yes')).err).toContain('resolve conflicts in different ways (lww and seqno)');
    expect(centre.changes).toEqual([]);
  });

  it('names the call, the cluster and what it said, and what to do', async () => {
    const wrong = await run({}, 'setup', ...both().map((word) => (word === 'centre.password' ? 'other.password' : word)), '--yes');
    expect([wrong.code, wrong.err]).toEqual([4, expect.stringContaining('GET /pools/default at the centre was answered with 401: the user or the password is wrong')]);
    expect(wrong.err).not.toContain('wrong-one');
    centre.instead = ({ path }) => (path === '/pools/default/buckets/holdfast' ? { status: 403, body: '{"message":"Forbidden. User needs the following permissions"}' } : null);
    const forbidden = await setUp('--yes');
    expect([forbidden.code, forbidden.err]).toEqual([4, expect.stringMatching(/at the centre was answered with 403: the user may not do that: .*User needs the following permissions/)]);
    centre.instead = ({ path }) => (path === '/pools' ? { status: 200, body: '<html>' } : null);
    expect((await setUp('--yes')).err).toContain('an answer that is not understood');
    await centre.close();
    const away = await setUp('--yes');
    expect([away.code, away.err]).toEqual([3, expect.stringMatching(/Cannot reach the cluster at http:\/\/127\.0\.0\.1:\d+: .*ECONNREFUSED[^]*next: .*18091/)]);
  });

  it.each([
    ['an address with a password', { '--centre': 'https://admin:hunter2@db/holdfast' }, /--centre has a password in it/],
    ['no address', { '--site': 'db.example.org' }, /--site is not the address of a cluster/],
    ['a port that does not exist', { '--site': 'https://admin@db:99999/holdfast' }, /--site has a port that does not exist/],
    ['a name that is none', { '--name': '../x' }, /--name is not a name/],
    ['too little memory', { '--memory': '12' }, /--memory 12 is no number/],
    ['a site with TLS and no authority to check it by', { '--site': 'https://admin@db/holdfast' }, /--site-ca is missing/],
  ])('refuses %s, and repeats no password', async (_, changed: Record<string, string>, problem) => {
    const words = both();
    for (const [option, value] of Object.entries(changed)) {
      const at = words.indexOf(option);
      if (at === -1) words.push(option, value);
      else words[at + 1] = value;
    }
    const { code, err } = await run({}, 'setup', ...words, '--yes');
    expect([code, err]).toEqual([2, expect.stringMatching(problem)]);
    expect(err).not.toContain('hunter2');
  });

  it('wants TLS unless told otherwise, and a password from a file or the environment', async () => {
    const plain = both().filter((word) => word !== '--plain');
    expect((await run({}, 'setup', ...plain, '--yes')).err).toContain('--centre is without TLS');
    const fileless = both().filter((word) => !word.includes('password'));
    expect((await run({}, 'setup', ...fileless, '--yes')).err).toContain('there is no password of the centre');
    const env = { HOLDFAST_XDCR_PASSWORD: 'secret-of-the-centre', HOLDFAST_XDCR_SITE_PASSWORD: 'secret-of-the-site' };
    expect((await run({ env }, 'setup', ...fileless, '--yes')).code).toBe(0);
    expect(site.password).toBe('secret-of-the-site');
  });
});

describe('TLS', () => {
  it('is checked at both clusters, and by the centre too', async () => {
    const identity = (): ReturnType<typeof openServerIdentity> =>
      openServerIdentity({ folder: folder(), hosts: ['127.0.0.1'], random: createSystemRandom(), wallMs: Date.now() });
    const [own, other] = [await identity(), await identity()];
    centre = await server('secret-of-the-centre', { cert: own.chain, key: own.key });
    site = await server('secret-of-the-site', { cert: other.chain, key: other.key });
    const authorities = { ...files, 'centre.pem': own.caPem, 'site.pem': other.caPem };
    const words = (centreCa: string, siteCa: string): string[] => [...both().filter((word) => word !== '--plain'), '--centre-ca', centreCa, '--site-ca', siteCa, '--yes'];
    for (const [a, b, origin] of [['site.pem', 'site.pem', centre.origin], ['centre.pem', 'centre.pem', site.origin]] as const) {
      const { code, err } = await run({ files: authorities }, 'setup', ...words(a, b));
      expect([code, err]).toEqual([3, expect.stringContaining(`Cannot reach the cluster at ${origin}: its certificate is not trusted`)]);
    }
    expect(site.calls).toEqual([]);
    const { code, out } = await run({ files: authorities }, 'setup', ...words('centre.pem', 'site.pem'));
    expect(code).toBe(0);
    expect(centre.references.get('berlin')?.form).toMatchObject({ secureType: 'full', certificate: other.caPem });
    expect(out).toContain('certificate=(the file of --site-ca)');
    expect(out).not.toContain('BEGIN CERTIFICATE');
  });
});

describe('holdfast xdcr status', () => {
  it('says when there is nothing', async () => {
    expect(await run({}, 'status', ...atCentre())).toEqual({ code: 0, out: 'The centre knows no such site: holdfast xdcr setup\n', err: '' });
    expect(await status()).toEqual([]);
  });

  it('shows what runs, what is paused, what is behind and what is missing', async () => {
    await setUp('--yes');
    const row = { name: 'berlin', hostname: site.origin.replace('http://', ''), encryption: 'none', id, status: 'running', changes_left: 0, docs_written: 31_591, errors: [] };
    expect(await status()).toEqual([row]);
    const replication = centre.replications.get(id);
    Object.assign(replication ?? {}, { changesLeft: 4_711, errors: ['2026-01-01 [xdcr] target is unreachable'] });
    expect(await status()).toMatchObject([{ status: 'running', changes_left: 4_711 }]);
    expect((await run({}, 'status', ...atCentre())).out).toMatch(/berlin +127\.0\.0\.1:\d+ +none +running +4711 +31591\nberlin: .*target is unreachable\n/);
    Object.assign(replication ?? {}, { paused: true });
    expect((await run({}, 'status', ...atCentre(), '--name', 'berlin')).out).toContain('berlin: nothing is sent while it is paused; holdfast xdcr setup resumes it');
    expect((await run({}, 'status', ...atCentre(), '--name', 'madrid')).out).toContain('knows no such site');
    centre.replications.clear();
    expect((await run({}, 'status', ...atCentre())).out).toContain('berlin: the centre knows the site and sends it nothing');
  });
});

describe('holdfast xdcr remove', () => {
  const remove = (...more: string[]): Promise<CliResult> => run({}, 'remove', ...atCentre(), '--name', 'berlin', ...more);

  it('ends the replication and forgets the site, and leaves what the site has', async () => {
    await setUp('--yes');
    const before = centre.changes.length;
    expect((await remove('--dry-run')).out).toContain('Dry run: nothing was changed.');
    expect(centre.changes).toHaveLength(before);
    expect((await remove('--yes')).code).toBe(0);
    expect(centre.changes.slice(before)).toEqual([`DELETE /controller/cancelXDCR/${encodeURIComponent(id)}`, 'DELETE /pools/default/remoteClusters/berlin']);
    expect([...centre.references.keys(), ...centre.replications.keys()]).toEqual([]);
    expect(site.changes.filter((call) => call.startsWith('DELETE'))).toEqual([]);
  });

  it('does nothing where there is nothing', async () => {
    expect(await remove('--yes')).toEqual({ code: 0, out: 'There is nothing to change.\n', err: '' });
    expect(centre.changes).toEqual([]);
  });

  it('keeps the reference that another replication uses', async () => {
    await setUp('--yes');
    centre.replications.set('abc123/other/other', { id: 'abc123/other/other', source: 'other', target: '/remoteClusters/abc123/buckets/other', paused: false, mapping: {}, changesLeft: 0, errors: [] });
    await remove('--yes');
    expect([[...centre.references.keys()], [...centre.replications.keys()]]).toEqual([['berlin'], ['abc123/other/other']]);
  });
});
