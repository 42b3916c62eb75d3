import { describe, expect, it } from 'vitest';
import { eventLine } from '../../src/cli/event-text.ts';
import { problemOf } from '../../src/demo/console.ts';
import { errorTable, HoldfastError } from '../../src/shared/model/errors.ts';
import { cli } from '../support/cli-run.ts';
import { FakeClock } from '../support/fake-clock.ts';

describe('a command among the events', () => {
  const line = (facts: object): string => {
    const event = { id: '5f3c9a1e.7.1', kind: 'command', event: 'command', time: 0, location: 'berlin', who: 'key-1', requestId: 'r-1', user: 'key-1', ...facts };
    return eventLine(event, (text) => text);
  };

  it('is a line to read, with whom it is of only once', () => {
    const facts = { role: 'operator', what: 'POST /api/engine/v2/systems/:id/:module/:method', params: { id: 'sys-1', module: 'Display_1', method: 'power' }, status: 200 };
    const more = { module: 'mod-1', method: 'power', servedBy: 'edge-1', result: 'ok', remote: '127.0.0.1' };
    expect(line({ ...facts, ...more })).toBe('1970-01-01T00:00:00Z  command       berlin key-1      power of mod-1 → ok, served by edge-1, from 127.0.0.1\n');
    expect(line({ ...more, servedBy: null, result: 'COMMAND_CANCELLED', cancelledBy: { user: 'olga', who: 'token-1' } })).toContain('power of mod-1 → COMMAND_CANCELLED, cancelled by olga, from');
    expect(line({ ...facts, what: 'POST /webhook/:id', params: { id: 'trig-1' }, result: 'ok' })).toContain('POST /webhook/:id trig-1 → ok\n');
  });
});

it('the demo says what a line lacks, and what is for edges only', () => {
  const answer = (verb: string, target: string): string | null => problemOf(verb, target, ['berlin', 'lisbon']);
  expect([answer('kill', 'master'), answer('start', 'master'), answer('window', 'berlin')]).toEqual([null, null, null]);
  expect(answer('window', 'master')).toBe('window is for an edge, such as: window berlin. The master takes kill, freeze, thaw, start.\n');
  expect(answer('takeover', 'master')).toContain('takeover is for an edge');
  expect(answer('foo', '')).toMatch(/^Unknown command foo\.\nTry:/);
  expect(answer('kill', '')).toBe('kill what? Such as: kill berlin\n');
  expect(answer('kill', 'rome')).toBe('There is no rome; there are berlin, lisbon, master.\n');
});

it('advice says what it means: how long to wait, and of which location', () => {
  expect(new HoldfastError('NOT_READY', { waitingFor: 'edges', retryAfterMs: 1_000 }).help).toBe('Try again after 1000 ms.');
  expect(new HoldfastError('NO_HOLDER', { location: 'berlin', reason: 'lease-ended' }).help).toBe('See `holdfast location show berlin`.');
  for (const { help, facts } of Object.values(errorTable)) {
    for (const [, fact] of help.matchAll(/\{(\w+)\}/g)) expect(facts).toContain(fact);
  }
});

it('a key with a line end is taken without it, and what no header can carry is refused by the name of its variable', async () => {
  const run = (key: string, ...argv: string[]) => cli({ clock: new FakeClock(), env: { HOLDFAST_SERVER: 'http://127.0.0.1:1', HOLDFAST_KEY: key } }, 'status', ...argv);
  expect((await run('key-1.secret\n')).code).toBe(3);
  expect(await run('key-1\nsecret')).toMatchObject({ code: 2, err: expect.stringContaining('error: HOLDFAST_KEY holds a space, a line end') as string });
  expect((await run('', '--key', 'schlüssel')).err).toContain('error: --key holds');
});
