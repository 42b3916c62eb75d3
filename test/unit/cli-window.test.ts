import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestServer } from '../support/api-server.ts';
import type { TestServer } from '../support/api-server.ts';
import { cli } from '../support/cli-run.ts';
import type { CliResult, CliSetting } from '../support/cli-run.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { locationView, SINCE_MS } from '../support/fake-node.ts';

let server: TestServer;
const clock = new FakeClock(SINCE_MS);
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.close());

const env = (key = server.keys.admin): Record<string, string> => ({ HOLDFAST_SERVER: server.http.origin, HOLDFAST_KEY: key });
const runWith = (setting: Partial<CliSetting>, ...argv: string[]): Promise<CliResult> => cli({ clock, env: env(), ...setting }, ...argv);
const run = (...argv: string[]): Promise<CliResult> => runWith({}, ...argv);
const asJson = async (result: Promise<CliResult>): Promise<unknown> => JSON.parse((await result).out);
const isOpen = (): boolean | undefined => server.node.location('edge-1')?.window.open;

describe('holdfast window next', () => {
  it('shows the rule and the openings of a location', async () => {
    expect((await run('window', 'next', 'edge-1', '--count', '2')).out).toBe(
      'Opens at "0 13 * * *" (minute, hour, day of month, month, day of week) in UTC, for 1h0m.\n' +
        'OPENS                    CLOSES                   OPENS (UTC)           CLOSES (UTC)          CLOCKS\n' +
        '2025-01-01 13:00 +00:00  2025-01-01 14:00 +00:00  2025-01-01T13:00:00Z  2025-01-01T14:00:00Z\n' +
        '2025-01-02 13:00 +00:00  2025-01-02 14:00 +00:00  2025-01-02T13:00:00Z  2025-01-02T14:00:00Z\n',
    );
    expect(await asJson(run('window', 'next', 'edge-1', '-o', 'json'))).toMatchObject({ location: 'edge-1', open: false, length: 3_600, openings: { length: 5 } });
  });

  it('tries a rule out without a server, with its clock changes', async () => {
    const argv = ['window', 'next', '--cron', '30 2 * * *', '--timezone', 'Europe/Berlin', '--length', '90m', '--count', '90'];
    const { code, out } = await runWith({ env: { HOLDFAST_SERVER: 'http://127.0.0.1:1' } }, ...argv);
    expect([code, out.split('\n').length]).toEqual([0, 93]);
    expect(out).toMatch(/^2025-03-30 03:00 \+02:00 .* 2025-03-30T01:00:00Z .* moved: the clocks go forward from 02:00 to 03:00/m);
  });

  it('looks at another time than now, and refuses what apply would', async () => {
    const cron = ['window', 'next', '--cron', '30 2 * * *', '--timezone', 'Europe/Berlin'];
    const { out } = await run(...cron, '--from', '2026-10-24T18:00Z', '--count', '2');
    expect(out).toMatch(/^2026-10-25 02:30 /m);
    expect(out).not.toContain('2025-');
    expect((await run('window', 'next', 'edge-1', '--from', '2026-10-24', '--count', '1')).out).toContain('2026-10-24 13:00');
    expect(await run(...cron, '--from', 'tomorrow')).toMatchObject({ code: 2, err: expect.stringContaining('such as 2026-10-24') as string });
    expect((await run(...cron, '--length', '7d')).code).toBe(0);
    expect(await run(...cron, '--length', '99d')).toMatchObject({ code: 2, err: expect.stringContaining('--length: no window may be open for 99d0h') as string });
  });

  it('says what is wrong with a rule, and what to give', async () => {
    expect(await run('window', 'next', '--cron', '30 2 * *')).toMatchObject({ code: 2, err: expect.stringContaining('error: window_start: "30 2 * *" has 4 of 5 fields') as string });
    expect((await run('window', 'next', '--cron', '* * * * *', '--timezone', 'Europe/Berlun')).err).toContain('"Europe/Berlun" is not a known time zone');
    for (const argv of [[], ['edge-1', '--cron', '* * * * *'], ['edge-1', '--timezone', 'UTC'], ['--cron', '* * * * *', '--length', '90'], ['edge-1', '--count', '0']]) {
      expect([argv, (await run('window', 'next', ...argv)).code]).toEqual([argv, 2]);
    }
    server.node.views.set('edge-2', locationView('edge-2', { window: { open: false, closesMs: null, nextMs: null, schedule: null } }));
    expect((await run('window', 'next', 'edge-2')).err).toContain('error: edge-2 has no restore window: only an operator hands back\nnext: holdfast location handback edge-2');
    expect((await run('window', 'next', 'edge-9')).code).toBe(1);
  });
});

describe('holdfast window open and close', () => {
  it('shows before and after, asks, and obeys', async () => {
    const no = await runWith({ answers: ['n'] }, 'window', 'open', 'edge-1', '--for', '2m');
    expect([no.code, no.out, isOpen()]).toEqual([1, '', false]);
    expect(no.err).toMatch(/window +in 1h0m +open for 2m0s\nwindow of edge-1\nOpen the restore window of edge-1 for 2m0s\? \[y\/N\]/);
    expect((await runWith({ answers: ['y'] }, 'window', 'open', 'edge-1', '--for', '2m')).code).toBe(0);
    expect(isOpen()).toBe(true);
    expect(await asJson(run('window', 'close', 'edge-1', '--yes', '-o', 'json'))).toMatchObject({ dry_run: false, before: { window: { open: true } }, after: { window: { open: false } } });
    expect(isOpen()).toBe(false);
  });

  it('--dry-run changes nothing; without a terminal it needs --yes; the length is needed', async () => {
    expect((await run('window', 'open', 'edge-1', '--for', '2m', '--dry-run')).out).toContain('Dry run: nothing was changed.\n');
    for (const argv of [['open', 'edge-1', '--for', '2m'], ['close', 'edge-1'], ['open', 'edge-1', '--yes'], ['open', 'edge-1', '--for', '2', '--yes']]) {
      expect([argv, (await run('window', ...argv)).code]).toEqual([argv, 2]);
    }
    expect(isOpen()).toBe(false);
    expect((await run('window', 'open', 'edge-1', '--for', '8d', '--yes')).err).toContain('error: body.seconds: ');
  });

  it('is audited, and needs an operator of the location', async () => {
    await run('window', 'open', 'edge-1', '--for', '2m', '--yes');
    await run('window', 'close', 'edge-1', '--yes');
    const audited = server.log.filter(({ event }) => event === 'audit').map(({ facts }) => facts);
    expect(audited).toMatchObject([
      { what: 'POST /api/engine/v2/edges/:id/window/open', seconds: 120, dryRun: false, result: 'ok' },
      { what: 'POST /api/engine/v2/edges/:id/window/close', dryRun: false },
    ]);
    expect((await runWith({ env: env(server.keys.operator) }, 'window', 'open', 'edge-1', '--for', '2m', '--yes')).code).toBe(4);
  });

  it('an edge sends its operator to the master', async () => {
    const edge = await startTestServer({ role: 'edge' });
    const setting = { env: { HOLDFAST_SERVER: edge.http.origin, HOLDFAST_KEY: edge.keys.admin } };
    expect((await runWith(setting, 'window', 'open', 'edge-1', '--for', '2m', '--yes')).err).toContain('is done at the master');
    await edge.close();
  });
});

describe('holdfast token', () => {
  it('add, list and revoke', async () => {
    const added = await run('token', 'add', '--user', 'anna', '--role', 'operator', '--expires', '8h');
    const token = added.out.trim();
    const id = token.split('.')[0] ?? '';
    expect(added.err).toContain('shown only now');
    const bearer = { authorization: `Bearer ${token}` };
    const ask = async (): Promise<number> => (await fetch(`${server.http.origin}/api/engine/v2/edges`, { headers: bearer })).status;
    expect(await ask()).toBe(200);
    const [listed] = (await asJson(run('token', 'list', '-o', 'json'))) as { created_at: number; expires_at: number }[];
    expect((listed?.expires_at ?? 0) - (listed?.created_at ?? 0)).toBe(8 * 3_600);
    const validNow = { clock: new FakeClock(server.clock.wallMs()) };
    expect((await runWith(validNow, 'token', 'list')).out).toMatch(new RegExp(`^${id} +anna +operator +\\S+ +\\S+ +key-\\w+ +valid$`, 'm'));
    const later = { clock: new FakeClock(server.clock.wallMs() + 9 * 3_600_000) };
    expect((await runWith(later, 'token', 'list')).out).toMatch(/ expired$/m);
    expect((await run('token', 'revoke', id)).code).toBe(2);
    expect((await run('token', 'revoke', id, '--dry-run')).out).toContain('nothing was changed');
    expect(await ask()).toBe(200);
    expect((await runWith({ answers: ['y'] }, 'token', 'revoke', id)).code).toBe(0);
    expect(await ask()).toBe(401);
    expect((await run('token', 'list')).out).toMatch(/ revoked$/m);
  });

  it('refuses what it does not know, and never lists a secret', async () => {
    expect((await run('token', 'revoke', 'token-none', '--yes')).err).toBe('error: there is no token token-none\nnext: holdfast token list\n');
    for (const argv of [['add'], ['add', '--user', 'anna', '--role', 'root'], ['add', '--user', 'anna', '--expires', 'soon']]) {
      expect([argv, (await run('token', ...argv)).code]).toEqual([argv, 2]);
    }
    const made = (await asJson(run('token', 'add', '--user', 'anna', '-o', 'json'))) as { token: string; role: string };
    expect(made.role).toBe('viewer');
    expect((await run('token', 'list', '-o', 'json')).out).not.toContain(made.token.split('.')[1]);
  });
});
