import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HoldfastError, nestedError } from '../../src/shared/model/errors.ts';
import { startTestServer, until } from '../support/api-server.ts';
import type { TestServer } from '../support/api-server.ts';
import { cli, startCli } from '../support/cli-run.ts';
import type { CliResult, CliSetting } from '../support/cli-run.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { locationView, requestView, SINCE_MS } from '../support/fake-node.ts';

let server: TestServer;
let clock: FakeClock;
beforeEach(async () => {
  server = await startTestServer();
  clock = new FakeClock(SINCE_MS + 192_000);
});
afterEach(() => server.close());

const env = (key = server.keys.admin): Record<string, string> => ({ HOLDFAST_SERVER: server.http.origin, HOLDFAST_KEY: key });
const run = (...argv: string[]): Promise<CliResult> => cli({ clock, env: env() }, ...argv);
const runWith = (setting: Partial<CliSetting>, ...argv: string[]): Promise<CliResult> => cli({ clock, env: env(), ...setting }, ...argv);
const lines = (text: string): string[] => text.trimEnd().split('\n');
const asJson = async (result: Promise<CliResult>): Promise<unknown> => {
  const { code, out, err } = await result;
  expect([code, err]).toEqual([0, expect.any(String)]);
  return JSON.parse(out);
};

const STATUS = `
LOCATION  HOLDER  SINCE  STATE    WHY                EPOCH  LINK  WINDOW     MODULES
edge-1    edge    3m12s  standby  edge-kept-devices  0.4    up    in 56m48s  2/3, 1 failing
edge-2    edge    3m12s  standby  edge-kept-devices  0.4    up    in 56m48s  2/3, 1 failing
`.trimStart();

describe('holdfast status', () => {
  it('prints one aligned line for each location', async () => {
    expect(await run('status')).toEqual({ code: 0, out: STATUS, err: '' });
    expect((await run('location', 'list')).out).toBe(STATUS);
  });

  it('says how old the documents of the server are, when they are', async () => {
    server.staleMs.value = 3_700_000;
    expect((await run('status')).out).toBe(`${STATUS}The documents of this server are 1h1m old: its database is away, or nothing is replicated to it. See holdfast doctor.\n`);
  });

  it('says what is going to happen and what is not usual', async () => {
    server.node.views.clear();
    server.node.views.set('edge-3', locationView('edge-3', { state: 'suspect', dueInMs: 12_000, holdDownMs: 90_000, paused: true, link: 'down' }));
    server.node.views.set('edge-4', locationView('edge-4', { window: { open: true, closesMs: null, nextMs: null, schedule: null }, modules: { total: 1, running: 1, failing: 0 } }));
    server.node.views.set('edge-5', locationView('edge-5', { window: { open: false, closesMs: null, nextMs: null, schedule: null } }));
    const [, third, fourth, fifth] = lines((await run('status')).out);
    expect(third).toContain('suspect (paused, due in 12s, hold-down 1m30s)');
    expect(fourth).toMatch(/open +1\/1$/);
    expect(fifth).toContain('by order');
  });

  it('is JSON as the API has it', async () => {
    expect(await asJson(run('-o', 'json', 'status'))).toMatchObject([{ id: 'edge-1', since: SINCE_MS / 1_000, epoch: '0.4' }, { id: 'edge-2' }]);
    expect(await asJson(run('location', 'list', '--output', 'json'))).toHaveLength(2);
  });

  it('names a location that could not be made, and where to look', async () => {
    server.node.views.set('edge-9', locationView('edge-9', { holder: 'none', state: 'not-made', reason: 'location-not-made', link: 'down' }));
    const { out } = await run('status');
    expect(out).toMatch(/^edge-9 +none .*not-made +location-not-made/m);
    expect(out).toContain('\nThe master could not make edge-9. See holdfast doctor.\n');
  });

  it('shows every location, however many pages they are', async () => {
    for (let i = 0; i < 600; i += 1) server.node.views.set(`edge-x${i}`, locationView(`edge-x${i}`));
    expect(lines((await run('status')).out)).toHaveLength(603);
  });

  it('has colours on a terminal only, and not with NO_COLOR', async () => {
    expect((await runWith({ colours: true }, 'status')).out).toContain('\u001b[32medge\u001b[0m');
    expect((await runWith({ colours: true, env: { ...env(), NO_COLOR: '1' } }, 'status')).out).toBe(STATUS);
  });

  it('-w shows it anew when control moves, survives a server that goes away, and ends when interrupted', async () => {
    const abort = new AbortController();
    const running = startCli({ clock, env: env(), signal: abort.signal }, 'status', '-w');
    await until(() => running.out().includes('edge-2'), 'the first table');
    server.node.move('edge-1', { holder: 'master', reason: 'timeout' });
    server.say('control', { location: 'edge-1', holder: 'master', reason: 'timeout' });
    await until(() => running.out().includes('timeout'), 'the move');
    server.node.views.set('edge-1', locationView('edge-1', { modules: { total: 9, running: 9, failing: 0 } }));
    await clock.advance(5_000);
    await until(() => running.out().includes('9/9'), 'the modules, which move nothing');
    await server.close();
    await until(() => running.err().includes('trying again'), 'the notice');
    abort.abort();
    expect((await running.done).code).toBe(0);
    server = await startTestServer();
  });

  it('-w says that what it shows is old while the server does not answer, once, although the stream of moves is open', async () => {
    const abort = new AbortController();
    const running = startCli({ clock, env: env(), signal: abort.signal }, 'status', '-w');
    await until(() => running.out().includes('edge-2'), 'the first table');
    const { locations } = server.node;
    server.node.locations = () => {
      throw new HoldfastError('NOT_READY', { waitingFor: 'a test', retryAfterMs: 1_000 });
    };
    await clock.advance(5_000);
    await until(() => running.err().endsWith('waits for a test; what is shown is older\n'), 'the note');
    const shown = running.out();
    await clock.advance(5_000);
    server.node.locations = locations;
    server.node.views.set('edge-1', locationView('edge-1', { modules: { total: 9, running: 9, failing: 0 } }));
    await clock.advance(5_000);
    await until(() => running.out().length > shown.length, 'a table again');
    abort.abort();
    expect(lines((await running.done).err)).toHaveLength(1);
  });

  it('-w -o json prints a line each time', async () => {
    const abort = new AbortController();
    const running = startCli({ clock, env: env(), signal: abort.signal }, 'status', '-w', '-o', 'json');
    await until(() => running.out().endsWith('\n'), 'the first line');
    server.node.move('edge-1', { holder: 'master' });
    server.say('control', { location: 'edge-1', holder: 'master' });
    await until(() => running.out().includes('"holder":"master"'), 'the second line');
    abort.abort();
    const [first, second] = lines((await running.done).out).map((line) => JSON.parse(line) as { holder: string }[]);
    expect([first?.[0]?.holder, second?.[0]?.holder]).toEqual(['edge', 'master']);
  });
});

describe('holdfast location', () => {
  it('show: every fact of one', async () => {
    const { out } = await run('location', 'show', 'edge-1');
    expect(out).toContain('since         2025-01-01T12:00:00Z, 3m12s ago\n');
    expect(out).toContain('policy        available\n');
    expect(await asJson(run('location', 'show', 'edge-2', '-o', 'json'))).toMatchObject({ id: 'edge-2', failover: false });
  });

  it('history: newest first', async () => {
    expect((await run('location', 'history', 'edge-1')).out).toBe(
      'TIME                  HOLDER  STATE    WHY                   EPOCH\n' +
        '2025-01-01T12:00:00Z  edge    standby  edge-kept-devices     0.4\n' +
        '2025-01-01T12:00:00Z  edge    standby  no-takeover-happened  0.4\n',
    );
    expect(await asJson(run('location', 'history', 'edge-1', '-n', '1', '-o', 'json'))).toHaveLength(1);
    expect((await run('location', 'history', 'edge-1', '-n', 'x')).err).toContain('error: query.limit: ');
  });

  for (const [kind, field, after] of [
    ['takeover', 'holder', 'master'],
    ['handback', 'holder', 'edge'],
    ['pause', 'paused', 'true'],
  ] as const) {
    const field0 = (): string => String(server.node.location('edge-1')?.[field]);

    it(`${kind}: shows before and after, asks, and obeys the answer`, async () => {
      if (kind === 'handback') server.node.move('edge-1', { holder: 'master' });
      const no = await runWith({ answers: ['n'] }, 'location', kind, 'edge-1');
      expect([no.code, no.out]).toEqual([1, '']);
      expect(no.err).toMatch(/edge-1 +BEFORE +AFTER\n/);
      expect(no.err).toMatch(/edge-1\? \[y\/N\] error: not confirmed; nothing was changed\n/);
      expect(field0()).not.toBe(after);
      const yes = await runWith({ answers: ['Y'] }, 'location', kind, 'edge-1');
      expect([yes.code, field0()]).toEqual([0, after]);
      expect(yes.out).toContain(`${kind} of edge-1`);
    });

    it(`${kind}: --dry-run changes nothing, --yes asks nothing`, async () => {
      if (kind === 'handback') server.node.move('edge-1', { holder: 'master' });
      const dry = await run('location', kind, 'edge-1', '--dry-run');
      expect([dry.code, dry.out.endsWith('Dry run: nothing was changed.\n'), field0() === after]).toEqual([0, true, false]);
      expect(await asJson(run('location', kind, 'edge-1', '--yes', '-o', 'json'))).toMatchObject({ dry_run: false, after: { id: 'edge-1' } });
      expect(field0()).toBe(after);
      expect(server.node.orders.map((order) => order.dryRun)).toEqual([true, false]);
    });

    it(`${kind}: without a terminal and without --yes it is refused before anything happens`, async () => {
      const { code, err } = await run('location', kind, 'edge-1');
      expect(code).toBe(2);
      expect(err).toContain('--yes');
      expect(server.node.orders).toEqual([]);
    });
  }

  it('resume: needs no confirmation', async () => {
    server.node.move('edge-1', { paused: true });
    expect((await run('location', 'resume', 'edge-1')).code).toBe(0);
    expect(server.node.location('edge-1')?.paused).toBe(false);
  });

  it('an order that is refused says why and what next, with exit code 1', async () => {
    const { code, out, err } = await run('location', 'takeover', 'edge-2', '--yes');
    expect([code, out]).toEqual([1, '']);
    expect(err).toBe(
      'error: The order for edge-2 is refused: failover is off\nnext: See `holdfast location show edge-2` for who holds it and why.\n',
    );
  });
});

describe('holdfast edge', () => {
  it('add: prints the enrolment alone, the advice beside it', async () => {
    const { out, err } = await run('edge', 'add', 'edge-9');
    expect(out).toBe('enrolment-of-edge-9\n');
    expect(err).toContain('HOLDFAST_ENROL');
    expect(await asJson(run('edge', 'add', 'edge-9', '-o', 'json'))).toEqual({ id: 'edge-9', enrolment: 'enrolment-of-edge-9' });
  });

  it('add and rotate take a secret from a file, and say it nowhere', async () => {
    const files = { '/run/secret': 'correct-horse-battery\n' };
    const added = await runWith({ files }, 'edge', 'add', 'edge-9', '--secret-file', '/run/secret');
    const rotated = await runWith({ files }, 'edge', 'rotate', 'edge-1', '--yes', '--secret-file', '/run/secret');
    expect(server.node.enrolments).toEqual(['add edge-9 correct-horse-battery', 'rotate edge-1 correct-horse-battery']);
    for (const { out, err } of [added, rotated]) {
      expect(err).toContain('HOLDFAST_SECRET_FILE');
      expect(out + err).not.toContain('horse');
    }
    expect((await runWith({}, 'edge', 'add', 'edge-9', '--secret-file', '/none')).code).not.toBe(0);
  });

  it('rotate and revoke: ask, and change nothing as a dry run', async () => {
    for (const kind of ['rotate', 'revoke']) {
      expect((await run('edge', kind, 'edge-1')).code).toBe(2);
      expect((await run('edge', kind, 'edge-1', '--dry-run')).out).toContain('nothing was changed');
      expect(await asJson(run('edge', kind, 'edge-1', '--dry-run', '-o', 'json'))).toMatchObject({ dry_run: true, before: { id: 'edge-1' } });
      expect((await runWith({ answers: [''] }, 'edge', kind, 'edge-1')).code).toBe(1);
    }
    expect(server.node.enrolments).toEqual([]);
    expect((await runWith({ answers: ['y'] }, 'edge', 'rotate', 'edge-1')).out).toBe('new-enrolment-of-edge-1\n');
    const revoked = await run('edge', 'revoke', 'edge-1', '--yes');
    expect(revoked.out).toMatch(/edge-1 .* down .*\nRevoked: edge-1/);
    expect(await asJson(run('edge', 'revoke', 'edge-77', '--yes', '-o', 'json'))).toEqual({ id: 'edge-77', revoked: true });
    expect(server.node.enrolments).toEqual(['rotate edge-1', 'revoke edge-1', 'revoke edge-77']);
  });
});

describe('holdfast apply and export', () => {
  const files = { 'site.yaml': 'text', 'empty.yaml': '', 'bad.yaml': 'bad', 'conflict.yaml': 'conflict' };

  it('apply: shows the plan, asks, then makes it', async () => {
    const no = await runWith({ files, answers: ['no'] }, 'apply', '-f', 'site.yaml');
    expect(no.code).toBe(1);
    expect(no.err).toContain('~ edge edge-1\n    timeout: 20 → 30\nwarning: edge-1 goes dark while the master is down\n1 change, 2 as they are.\n');
    expect(server.siteFiles.applied).toEqual([]);
    expect((await runWith({ files, answers: ['yes'] }, 'apply', '-f', 'site.yaml')).out).toContain('Applied: 1 change.\n');
    expect(await asJson(runWith({ input: 'from a pipe' }, 'apply', '-f', '-', '--yes', '-o', 'json'))).toMatchObject({ dry_run: false });
    expect(server.siteFiles.applied).toEqual(['text', 'from a pipe']);
  });

  it('apply: a dry run and an empty plan change nothing and ask nothing', async () => {
    expect((await runWith({ files }, 'apply', '-f', 'site.yaml', '--dry-run')).out).toContain('Dry run: nothing was changed.\n');
    expect((await runWith({ files, answers: [] }, 'apply', '-f', 'empty.yaml')).out).toContain('Nothing to change.\n');
    expect(server.siteFiles.applied).toEqual([]);
  });

  it('apply: says what is wrong', async () => {
    expect(await runWith({ files }, 'apply', '-f', 'bad.yaml', '--yes')).toMatchObject({ code: 2, err: expect.stringContaining('error: systems.0.name: is missing\n') as string });
    expect((await runWith({ files }, 'apply', '-f', 'conflict.yaml', '--yes')).err).toContain('error: edge-1 is at version 2, not 1\n');
    expect((await runWith({ files }, 'apply', '-f', 'gone.yaml', '--yes')).err).toContain('error: cannot read gone.yaml\n');
    expect((await runWith({ files }, 'apply', '--yes')).code).toBe(2);
    expect((await runWith({ files }, 'apply', '-f', 'site.yaml')).code).toBe(2);
  });

  it('export: the text as it is', async () => {
    expect((await run('export')).out).toBe('edges: []\n');
    expect(await asJson(run('export', '-o', 'json'))).toEqual({ text: 'edges: []\n' });
  });
});

describe('holdfast exec, get and watch', () => {
  const display = { system: 'sys-1', module: 'Display', index: 1 };

  it('exec: arguments are JSON, the value goes to the output and who served it beside it', async () => {
    server.node.methods.set('echo', async ({ args }) => args);
    const { out, err } = await run('exec', 'sys-1', 'Display_1', 'echo', 'true', '-5', '"text"', '{"a":null}');
    expect(JSON.parse(out)).toEqual([true, -5, 'text', { a: null }]);
    expect(err).toBe('served by master-under-test\n');
    expect(await asJson(run('exec', 'sys-1', 'Display_2', 'echo', '-o', 'json'))).toEqual({ value: [], served_by: 'master-under-test' });
    expect(server.node.execs.map((call) => call.index)).toEqual([1, 2]);
  });

  it('exec: an argument that is not JSON, or a timeout that is none, is a usage error', async () => {
    const { code, err } = await run('exec', 'sys-1', 'Display_1', 'echo', 'hdmi');
    expect([code, err]).toEqual([2, 'error: the argument hdmi is not JSON\nnext: write text in quotes twice: \'"hdmi"\'\n']);
    expect((await run('exec', 'sys-1', 'Display_1', 'echo', '--timeout', 'soon')).code).toBe(2);
    expect(server.node.execs).toEqual([]);
  });

  it('exec: --timeout reaches the node', async () => {
    server.node.methods.set('echo', async () => null);
    await run('exec', 'sys-1', 'Display_1', 'echo', '--timeout', '2.5');
    expect(server.node.execs[0]?.timeoutMs).toBe(2_500);
  });

  it('methods: a table with what they take, and as JSON all that is known of them', async () => {
    const level = { type: 'integer', minimum: 0, maximum: 100, default: 50 };
    const whole = { type: 'integer', minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER };
    const { functionsOfModules: functions } = server.node;
    functions.set('input', { arity: 2, params: { level, input: { type: 'string', enum: ['hdmi', 'vga'] } }, order: ['input', 'level'] });
    functions.set('seek', { arity: 3, params: { by: whole, from: { minimum: 1, type: 'number' }, what: {} }, order: ['by', 'from', 'what'] });
    expect(lines((await run('methods', 'sys-1', 'Display_1')).out)).toEqual([
      'METHOD  PARAMETERS',
      'power   state: boolean',
      'input   input: "hdmi" | "vga", level: integer 0 to 100 = 50',
      'seek    by: integer, from: number from 1, what',
    ]);
    expect(await asJson(run('methods', 'sys-1', 'Display_1', '-o', 'json'))).toMatchObject({ power: { arity: 1 }, input: { params: { level } } });
    functions.clear();
    expect((await run('methods', 'sys-1', 'Display_1')).out).toBe('It has no methods.\n');
  });

  it('exec: a method that is not there names the command that lists those that are; one of another module does not', async () => {
    const { code, err } = await run('exec', 'sys-1', 'Display_1', 'dance');
    expect([code, err]).toEqual([1, 'error: Module Display has no method dance\nnext: holdfast methods sys-1 Display_1\n']);
    server.node.methods.set('ask', async () => {
      throw nestedError(new HoldfastError('METHOD_NOT_FOUND', { module: 'mod-9', method: 'sing' }).toJSON());
    });
    expect((await run('exec', 'sys-1', 'Display_1', 'ask')).err).toBe('error: Module mod-9 has no method sing\nnext: See `holdfast methods`.\n');
  });

  it('get: all variables or one', async () => {
    expect((await run('get', 'sys-1', 'Display_1')).out).toBe('No status yet.\n');
    server.node.setStatus({ ...display, key: 'power', value: true });
    server.node.setStatus({ ...display, key: 'input', value: 'hdmi' });
    expect((await run('get', 'sys-1', 'Display_1')).out).toBe('KEY    VALUE\ninput  "hdmi"\npower  true\n');
    expect(await asJson(run('get', 'sys-1', 'Display_1', '-o', 'json'))).toEqual({ power: true, input: 'hdmi' });
    expect((await run('get', 'sys-1', 'Display_1', 'input')).out).toBe('"hdmi"\n');
    expect(await asJson(run('get', 'sys-1', 'Display_1', 'power', '-o', 'json'))).toBe(true);
    expect(await run('get', 'sys-1', 'Display-1')).toMatchObject({ code: 2, err: expect.stringContaining('error: params.module: ') as string });
  });

  it('watch: a line for each value, until interrupted', async () => {
    for (const form of ['table', 'json']) {
      const key = `power as ${form}`;
      const abort = new AbortController();
      const running = startCli({ clock, env: env(), signal: abort.signal }, 'watch', 'sys-1', 'Display_1', key, '-o', form);
      await until(() => server.node.watchers === 1, 'the watch');
      server.node.setStatus({ ...display, key, value: false });
      await until(() => running.out().includes('false'), 'the first value');
      server.node.setStatus({ ...display, key, value: true });
      await until(() => running.out().includes('true'), 'the second value');
      abort.abort();
      const { code, out } = await running.done;
      expect(code).toBe(0);
      const values = form === 'table' ? ['false', 'true'] : [false, true].map((value) => JSON.stringify({ ...display, key, value }));
      expect(lines(out).slice(-2)).toEqual(values);
      await until(() => server.node.watchers === 0, 'the watch has ended');
    }
  });
});

describe('holdfast debug and requests', () => {
  it('debug: a line for each log line, safe to print, until interrupted', async () => {
    for (const form of ['table', 'json']) {
      const abort = new AbortController();
      const running = startCli({ clock, env: env(), signal: abort.signal }, 'debug', 'sys-1', 'Display_1', '-o', form);
      await until(() => server.node.debuggers === 1, 'the debugging');
      server.node.log('mod-1', { level: 'warn', message: 'lamp is \u001b[31mold' });
      await until(() => running.out().includes('old'), 'the line');
      abort.abort();
      const { code, out } = await running.done;
      expect(code).toBe(0);
      const line = lines(out).at(-1) ?? '';
      if (form === 'table') expect(line).toBe('warn  master-under-test  lamp is \\u001b[31mold');
      else expect(JSON.parse(line)).toEqual({ level: 'warn', message: 'lamp is \u001b[31mold', node: 'master-under-test' });
      await until(() => server.node.debuggers === 0, 'it has ended');
    }
  });

  it('driver reload: a line for each module, and a failure when one does not run the new code', async () => {
    expect(await run('driver', 'reload', 'driver-mock', '--location', 'edge-1')).toMatchObject({
      code: 0,
      out: 'MODULE  LOCATION  AT      PAUSED  RESULT\nmod-1   edge-1    edge-1  4 ms    reloaded\n',
    });
    expect(server.node.reloaded).toMatchObject([{ driver: 'driver-mock', location: 'edge-1' }]);
    const [module] = server.node.reloads.modules;
    if (module === undefined) throw new Error('the fake node reloads a module');
    server.node.reloads = { modules: [{ ...module, problem: 'its setup failed' }], failures: [{ location: 'edge-2', error: new HoldfastError('LINK_DOWN', { peer: 'edge-2' }) }] };
    const failed = await run('driver', 'reload', 'driver-mock');
    expect([failed.code, failed.err]).toEqual([1, expect.stringContaining('the new code does not run everywhere')]);
    expect(failed.out).toMatch(/its setup failed\n +edge-2 +\S.*\n$/);
    expect(JSON.parse((await run('driver', 'reload', 'driver-mock', '-o', 'json')).out)).toMatchObject({ modules: [{ id: 'mod-1' }], failures: [{ code: 'LINK_DOWN' }] });
    server.node.reloads = { modules: [], failures: [] };
    expect((await run('driver', 'reload', 'driver-mock')).out).toBe('No module runs this driver.\n');
  });

  it('driver reload: tries a file live, and takes it back', async () => {
    const files = { 'drivers/lamp/driver.ts': 'mended' };
    const edited = await runWith({ files }, 'driver', 'reload', 'driver-mock', '--edit', 'drivers/lamp/driver.ts', '--module', 'mod-1', 'mod-2');
    expect([edited.code, lines(edited.out).at(-1)]).toEqual([0, 'mod-1   edge-1    edge-1  4 ms    edited, not committed']);
    await runWith({ files }, 'driver', 'reload', 'driver-mock', '--edit', 'drivers/lamp/driver.ts', '--as', 'lib/codec.ts');
    expect((await run('driver', 'reload', 'driver-mock', '--revert')).out).toContain('reverted');
    expect(server.node.reloaded).toMatchObject([
      { live: { edit: { file: 'driver.ts', content: 'mended' }, modules: ['mod-1', 'mod-2'] } },
      { live: { edit: { file: 'lib/codec.ts' }, modules: [] } },
      { live: { edit: null, modules: [] } },
    ]);
    expect((await run('driver', 'reload', 'driver-mock', '--edit', 'x.ts', '--revert')).code).toBe(2);
    expect((await run('driver', 'reload', 'driver-mock', '--module', 'mod-1')).code).toBe(2);
    const out = await runWith({ files }, 'driver', 'reload', 'driver-mock', '--edit', 'drivers/lamp/driver.ts', '--as', '../../etc/passwd');
    expect([out.code, out.err]).toEqual([2, expect.stringContaining('below the folder of the driver')]);
    expect(server.node.reloaded).toHaveLength(3);
  });

  it('module and system: start, stop, unload, expire; location: asks, and shows how far a start has come', async () => {
    expect((await run('module', 'unload', 'mod-1')).out).toBe('mod-1 was unloaded at edge-1.\n');
    expect(server.node.unloaded).toEqual([['mod-1', expect.any(String)]]);
    expect((await run('system', 'expire', 'sys-1')).out).toBe('NAME       MODULE\nDisplay_1  mod-1\nRead anew at master-under-test.\nNot at edge-1: There is no link to edge-1\n');
    expect((await run('location', 'stop', 'edge-1')).code).toBe(2);
    expect((await run('location', 'stop', 'nowhere', '--yes')).err).toContain('nowhere');
    server.node.views.set('edge-1', locationView('edge-1', { progress: { action: 'start', done: 312, total: 1_000, failing: 4 }, edited: 2 }));
    server.node.views.set('edge-2', locationView('edge-2', { modules: { total: 3, running: 3, failing: 0 }, edited: 2 }));
    expect((await run('status')).out).toMatch(/edge-1 .*starting 312\/1000 modules, 4 failing\n.*edge-2 .*3\/3, 2 edited/);
  });

  it('requests: a table, JSON, and cancel', async () => {
    expect((await run('requests')).out).toBe('No command is in flight.\n');
    server.node.inFlight.push(requestView('r-1'), requestView('r-2', { entry: 'edge-2', via: 'edge-2', at: 'waits', leftMs: 100 }));
    expect(lines((await run('requests')).out)).toEqual([
      'ID   AGE  LEFT  USER  LOCATION  MODULE  METHOD  CAME IN AT         NOW AT',
      'r-1  2s   7s    anna  edge-1    mod-1   power   master-under-test  edge-1',
      'r-2  2s   0s    anna  edge-1    mod-1   power   edge-2             waits',
    ]);
    expect(await asJson(run('requests', '-o', 'json'))).toMatchObject([{ id: 'r-1', age: 2.5, left: 7.5, via: null }, { id: 'r-2', via: 'edge-2' }]);
    expect((await run('requests', 'cancel', 'r-1')).out).toBe('Cancelled: power of mod-1, which anna had asked for.\n');
    expect((await run('requests', 'cancel', 'r-9')).err).toContain('There is no request r-9\nnext: holdfast requests\n');
  });
});

describe('holdfast key and backup', () => {
  it('key: add, list and revoke', async () => {
    const added = await run('key', 'add', '--name', 'panel', '--role', 'operator');
    const key = added.out.trim();
    const id = key.split('.')[0] ?? '';
    expect((await runWith({ env: env(key) }, 'status')).code).toBe(0);
    expect((await run('key', 'list')).out).toMatch(new RegExp(`^${id} +panel +operator +\\S+ +valid$`, 'm'));
    expect(await asJson(run('key', 'list', '-o', 'json'))).toHaveLength(4);
    expect((await run('key', 'revoke', id)).code).toBe(2);
    expect((await run('key', 'revoke', id, '--dry-run')).out).toContain('nothing was changed');
    expect((await runWith({ env: env(key) }, 'status')).code).toBe(0);
    expect((await runWith({ answers: ['y'] }, 'key', 'revoke', id)).code).toBe(0);
    expect((await runWith({ env: env(key) }, 'status')).code).toBe(4);
    expect((await run('key', 'list')).out).toMatch(new RegExp(`^${id} .*revoked$`, 'm'));
    const last = server.keys.admin.split('.')[0] ?? '';
    for (const option of ['--yes', '--dry-run']) {
      expect((await run('key', 'revoke', last, option)).err).toMatch(new RegExp(`^error: ${last} is the last key of an administrator.*\nnext: Make one first with .holdfast key add`));
    }
    expect((await run('key', 'revoke', 'key-none', '--yes')).err).toContain('error: there is no API key key-none\n');
    expect((await run('key', 'add', '--name', 'x', '--role', 'root')).code).toBe(2);
    expect(await asJson(run('key', 'add', '--name', 'x', '-o', 'json'))).toMatchObject({ name: 'x', role: 'viewer' });
  });

  it('backup: prints where the server put it', async () => {
    expect((await run('backup', 'monday.db')).out).toBe('/data/backups/monday.db\n');
    expect(await asJson(run('backup', '-o', 'json'))).toEqual({ path: '/data/backups/by-time' });
    expect((await run('backup', '../x')).code).toBe(2);
  });
});
