import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openServerIdentity } from '../../src/shared/adapters/tls/certificates.ts';
import { clean, duration, json, painter, table } from '../../src/cli/format.ts';
import { startTestServer } from '../support/api-server.ts';
import type { TestServer } from '../support/api-server.ts';
import { cli } from '../support/cli-run.ts';
import type { CliResult, CliSetting } from '../support/cli-run.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { locationView } from '../support/fake-node.ts';
import { tempFolders } from '../support/temp-folder.ts';

const folder = tempFolders();

const clock = new FakeClock();
const alone = (setting: Partial<CliSetting>, ...argv: string[]): Promise<CliResult> => cli({ clock, ...setting }, ...argv);

describe('exit codes and errors', () => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startTestServer();
  });
  afterEach(() => server.close());

  it('3 when the server cannot be reached, in two lines and without a stack', async () => {
    const { code, out, err } = await alone({ env: { HOLDFAST_SERVER: 'http://127.0.0.1:1' } }, 'status');
    expect([code, out]).toEqual([3, '']);
    expect(err).toBe(
      'error: Cannot reach http://127.0.0.1:1: nothing listens there\nnext: Check HOLDFAST_SERVER or --server, and that the server is running.\n',
    );
    for (const command of [['status', '-w'], ['watch', 'sys-1', 'Display_1', 'power']]) {
      expect((await alone({ env: { HOLDFAST_SERVER: 'http://127.0.0.1:1' } }, ...command)).code).toBe(3);
    }
  });

  it('4 without a key, with a wrong one, and with one of too small a role', async () => {
    const HOLDFAST_SERVER = server.http.origin;
    expect((await alone({ env: { HOLDFAST_SERVER } }, 'status')).err).toContain('next: set HOLDFAST_KEY');
    for (const [HOLDFAST_KEY, command] of [
      ['', ['status']],
      ['key-1.wrong', ['status']],
      ['key-1.wrong', ['status', '-w']],
      [server.keys.viewer, ['edge', 'add', 'edge-3']],
    ] as const) {
      expect([command, (await alone({ env: { HOLDFAST_SERVER, HOLDFAST_KEY } }, ...command)).code]).toEqual([command, 4]);
    }
  });

  it('1 when there is no such thing', async () => {
    const env = { HOLDFAST_SERVER: server.http.origin, HOLDFAST_KEY: server.keys.viewer };
    const { code, err } = await alone({ env }, 'location', 'show', 'edge-9');
    expect([code, err]).toEqual([1, 'error: There is no location edge-9\nnext: holdfast location list\n']);
  });

  it('130 when it is interrupted before a frozen server has answered: what was asked for may have been done', async () => {
    const frozen = createServer().listen(0, '127.0.0.1');
    await once(frozen, 'listening');
    const { port } = frozen.address() as AddressInfo;
    for (const command of [['location', 'takeover', 'edge-1', '--yes'], ['status'], ['doctor'], ['events', '-f']]) {
      const abort = new AbortController();
      const running = alone({ env: { HOLDFAST_SERVER: `http://127.0.0.1:${port}` }, signal: abort.signal }, ...command);
      const [socket] = (await once(frozen, 'connection')) as [Socket];
      abort.abort();
      const { code, out, err } = await running;
      expect([command, code, out]).toEqual([command, 130, '']);
      expect(err).toMatch(/^error: interrupted before the answer came; .* may have been made\nnext: holdfast status, /);
      socket.destroy();
    }
    frozen.close();
  });

  it('--server and --key go before the environment', async () => {
    const env = { HOLDFAST_SERVER: 'http://127.0.0.1:1', HOLDFAST_KEY: 'key-1.wrong' };
    expect((await alone({ env }, '--server', server.http.origin, '--key', server.keys.viewer, 'status')).code).toBe(0);
  });

  it('2 for wrong usage, with one error line and where to look', async () => {
    for (const argv of [['statsu'], ['status', '--wach'], ['location'], ['location', 'show'], ['-o', 'xml', 'status'], ['sim', '--seeds', '0'], []]) {
      const { code, out, err } = await alone({}, ...argv);
      expect([argv, code, out]).toEqual([argv, 2, '']);
      expect(err).toMatch(/(^|\n)error: .+\nnext: .+\n$/);
      expect(err).not.toContain('undefined');
    }
    expect((await alone({}, 'statsu')).err).toContain('(Did you mean status?)');
  });

  it('2 for an address that is none, or that would show the key to the network', async () => {
    for (const address of ['master', 'ftp://master', 'http://127.0.0.1/path', 'http://user@127.0.0.1', 'http://master.example.org:8080', '']) {
      const { code, err } = await alone({}, '--server', address, 'status');
      expect([address, code]).toEqual([address, 2]);
      expect(err).toMatch(/^error: .+\nnext: (write such as|use) https?:\/\//);
    }
  });

  it('an answer that is not ours is an error, not a crash', async () => {
    // The health routes are there, the API is not: as behind a wrong proxy.
    server.http.server.removeAllListeners('request');
    server.http.server.on('request', (_, response) => response.end('<html>'));
    const { code, err } = await alone({ env: { HOLDFAST_SERVER: server.http.origin } }, 'status');
    expect(code).toBe(1);
    expect(err).toContain('the answer is not JSON');
  });

  it('what fails unexpectedly is one line as well', async () => {
    const { code, err } = await alone({ verify: () => Promise.reject(new Error('boom \u001b[2J')) }, 'verify', 'x');
    expect([code, err]).toEqual([1, 'error: boom \\u001b[2J\nnext: holdfast --help\n']);
  });

  it('text of others cannot drive the terminal', async () => {
    server.node.views.clear();
    server.node.views.set('edge-1', locationView('edge-1', { reason: '\u001b[2J\u202eevil\r\n' }));
    server.node.setStatus({ system: 'sys-1', module: 'Display', index: 1, key: 'a\u009bb', value: '\u001b]0;title\u0007\u009b' });
    const env = { HOLDFAST_SERVER: server.http.origin, HOLDFAST_KEY: server.keys.viewer };
    for (const argv of [['status'], ['get', 'sys-1', 'Display_1'], ['get', 'sys-1', 'Display_1', '-o', 'json']]) {
      const { out } = await alone({ env }, ...argv);
      expect(out.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\u202e]/u);
    }
    expect(JSON.parse((await alone({ env }, 'get', 'sys-1', 'Display_1', '-o', 'json')).out)).toEqual({ 'a\u009bb': '\u001b]0;title\u0007\u009b' });
  });
});

describe('help', () => {
  it('says the commands, the variables and the exit codes', async () => {
    const { code, out } = await alone({}, '--help');
    expect(code).toBe(0);
    for (const word of ['HOLDFAST_SERVER', 'HOLDFAST_KEY', 'HOLDFAST_CA', 'Exit codes: 0 done', 'status', 'location', 'restore', 'model']) {
      expect(out).toContain(word);
    }
    expect((await alone({}, 'exec', '--help')).out).toContain('Arguments are JSON');
    expect(await alone({}, '--version')).toEqual({ code: 0, out: '1.2.3\n', err: '' });
  });
});

describe('commands that run here', () => {
  it('serve and demo hand over the signal that ends them', async () => {
    const abort = new AbortController();
    const seen: AbortSignal[] = [];
    const setting = {
      signal: abort.signal,
      serve: async ({ signal }: { signal: AbortSignal }) => void seen.push(signal),
      demo: async ({ signal, print, note }: { signal: AbortSignal; print: (line: string) => void; note: (line: string) => void }) => {
        seen.push(signal);
        print('a table\n');
        note('starting \u001b[2J');
      },
    };
    expect((await alone(setting, 'serve')).code).toBe(0);
    expect(await alone(setting, 'demo')).toEqual({ code: 0, out: 'a table\n', err: 'starting \\u001b[2J\n' });
    expect(seen).toEqual([abort.signal, abort.signal]);
  });

  it('verify: sound or not is also in the exit code', async () => {
    const verify = async ({ path }: { path: string }) => ({ problems: path === 'good' ? [] : ['page 3 is torn', 'no cursor'] });
    expect(await alone({ verify }, 'verify', 'good')).toEqual({ code: 0, out: 'good is sound\n', err: '' });
    const bad = await alone({ verify }, 'verify', 'bad', '-o', 'json');
    expect([bad.code, JSON.parse(bad.out)]).toEqual([1, { ok: false, summary: 'bad: page 3 is torn; no cursor', facts: { path: 'bad', problems: ['page 3 is torn', 'no cursor'] } }]);
    expect(bad.err).toContain('error: bad: page 3 is torn; no cursor\n');
  });

  it('restore: before and after, asked, dry', async () => {
    const done: boolean[] = [];
    const restore = async ({ backup, data, dryRun }: { backup: string; data: string; dryRun: boolean }) => {
      done.push(dryRun);
      return { before: `${data}: 5 documents`, after: `${backup}: 4 documents`, summary: 'restored' };
    };
    const argv = ['restore', 'monday.db', '--data', '/data'];
    expect((await alone({ restore }, ...argv)).code).toBe(2);
    expect(done).toEqual([]);
    expect((await alone({ restore }, ...argv, '--dry-run')).out).toBe(
      'Before: /data: 5 documents\nAfter: monday.db: 4 documents\nrestored\nDry run: nothing was changed.\n',
    );
    expect((await alone({ restore, answers: ['n'] }, ...argv)).code).toBe(1);
    expect(done).toEqual([true, true]);
    expect((await alone({ restore, answers: ['y'] }, ...argv)).code).toBe(0);
    expect(JSON.parse((await alone({ restore }, ...argv, '--yes', '-o', 'json')).out)).toMatchObject({ dry_run: false, summary: 'restored' });
    expect(done).toEqual([true, true, true, false, false]);
    expect((await alone({ restore }, 'restore', 'monday.db', '--yes')).code).toBe(2);
  });

  it('sim and model: options and outcome', async () => {
    const seen: unknown[] = [];
    const outcome = (ok: boolean) => async ({ print, signal, ...options }: { print: (line: string) => void; signal: AbortSignal }) => {
      print('progress');
      seen.push([options, signal.aborted]);
      return { ok, summary: ok ? 'all held' : 'invariant 2 broke at seed 7', facts: { states: 12 } };
    };
    expect(await alone({ sim: outcome(true) }, 'sim', '--seed', '7', '--seeds', '3')).toEqual({ code: 0, out: 'all held\n', err: 'progress\n' });
    expect(await alone({ sim: outcome(false) }, 'sim')).toMatchObject({ code: 1, out: '', err: expect.stringContaining('error: invariant 2 broke at seed 7\n') as string });
    expect(JSON.parse((await alone({ model: outcome(true) }, 'model', '--policy', 'exclusive', '--size', 'small', '-o', 'json')).out)).toMatchObject({ ok: true, facts: { states: 12 } });
    expect(seen).toEqual([
      [{ seed: '7', runs: 3 }, false],
      [{ seed: undefined, runs: 200 }, false],
      [{ policies: ['exclusive'], size: 'small' }, false],
    ]);
  });
});

describe('over TLS', () => {
  it('the server must be signed by the authority that HOLDFAST_CA names', async () => {
    const random = { next: () => 0.5, hex: (bytes: number) => randomBytes(bytes).toString('hex') };
    const identity = await openServerIdentity({ folder: folder(), hosts: ['127.0.0.1'], random, wallMs: Date.now() });
    const server = await startTestServer({ tls: { cert: identity.chain, key: identity.key } });
    expect(server.http.origin).toMatch(/^https:/);
    const env = { HOLDFAST_SERVER: server.http.origin, HOLDFAST_KEY: server.keys.viewer };
    const trusted = await alone({ env: { ...env, HOLDFAST_CA: 'ca.pem' }, files: { 'ca.pem': identity.caPem } }, 'status');
    expect([trusted.code, trusted.err]).toEqual([0, '']);
    const unknown = await alone({ env }, 'status');
    expect([unknown.code, unknown.err.includes('HOLDFAST_CA')]).toEqual([3, true]);
    await server.close();
  });
});

describe('the forms of output', () => {
  it('durations are the two largest units', () => {
    expect([-5, 0, 59.9, 60, 192, 3_600, 86_399, 86_400, 356_400].map(duration)).toEqual(['0s', '0s', '59s', '1m0s', '3m12s', '1h0m', '23h59m', '1d0h', '4d3h']);
  });

  it('columns line up, also with wide characters, and paint does not count', () => {
    const paint = painter(true);
    const plain = table(['A', 'B'], [['会議', 'x'], [{ text: 'ok', colour: 'green' }, '']], painter(false));
    expect(plain).toBe('A     B\n会議  x\nok\n');
    expect(table(['A', 'B'], [[{ text: 'ok', colour: 'green' }, 'y']], paint)).toContain('\u001b[32mok\u001b[0m  y');
  });

  it('cleaned JSON is the same value', () => {
    const value = { '\u0000\u009b\u202e': ['\u2028\n\u001b', 'é'] };
    expect(JSON.parse(json(value, 2))).toEqual(value);
    expect(clean('a\tb\u007f')).toBe('a\\u0009b\\u007f');
  });
});
