import { describe, expect, it } from 'vitest';
import { problemOfListener, problemOfMethods, problemOfOptions, problemOfRequest, problemOfSend, problemOfTokeniser, requireDefinition } from '../../src/driver-sdk/definition.ts';
import { createHarness, defineDriver, delimiter, type DriverContext, z } from '../../src/driver-sdk/index.ts';

type Context = DriverContext<Record<string, never>>;

const lamp = { name: 'lamp', role: 'device', settings: z.strictObject({}), setup: () => ({}) };

describe('a definition of a driver that does not fit is refused, with its field and what to do', () => {
  it.each([
    [{ role: 'devise' }, 'role', 'must be device, service or logic, not "devise"'],
    [{ role: undefined }, 'role', 'must be device, service or logic, not undefined'],
    [{ settings: undefined }, 'settings', 'must be a schema, such as z.strictObject({})'],
    [{ settings: { level: z.int() } }, 'settings', 'must be a schema, such as z.strictObject({})'],
    [{ tokeniser: delimiter('\n') }, 'tokeniser', "must be a function that makes one for each connection, such as () => delimiter('\\n')"],
    [{ setup: {} }, 'setup', 'must be a function that returns the methods, such as () => ({})'],
    [{ name: 7 }, 'name', 'must be a text, the name of its file or folder'],
    [{ transports: 'udp' }, 'transports', 'must be a list, such as ["udp"]'],
    [{ transports: ['tcp', 'serial'] }, 'transports.1', 'must be tcp, tls, udp or http'],
    [{ delayMs: '100' }, 'delayMs', 'must be a number of milliseconds'],
    [{ delayMs: -1 }, 'delayMs', 'must not be negative'],
    [{ handoverVersion: '2' }, 'handoverVersion', 'must be a whole number'],
    [{ reconnectOnReload: 'no' }, 'reconnectOnReload', 'must be true or false'],
    [{ tokenizer: () => delimiter('\n') }, 'tokenizer', expect.stringMatching(/^is no field of a driver; there are name, role, settings, .*, setup$/)],
  ])('%o', (wrong, field, problem) => {
    expect(() => requireDefinition({ ...lamp, ...wrong })).toThrow(expect.objectContaining({ code: 'INPUT_INVALID', facts: { field, problem } }));
  });

  it('and nothing else is', () => {
    requireDefinition(lamp);
    requireDefinition({ ...lamp, transports: ['udp'], tokeniser: () => delimiter('\n'), delayMs: 0, handoverVersion: 2, reconnectOnReload: false });
    expect(() => requireDefinition(undefined)).toThrow(/the definition/);
  });
});

it('what the functions of a driver return is looked at, too', () => {
  expect([problemOfMethods({}), problemOfMethods({ on: () => 1 }), problemOfTokeniser(delimiter('\n'))]).toEqual([null, null, null]);
  expect(problemOfMethods(undefined)).toBe('its setup must return its methods, such as { power: … }, or {} for none, and not undefined');
  expect(problemOfMethods({ on: () => 1, level: 1 })).toBe('its setup returned level, which is no function');
  expect(problemOfTokeniser('\n')).toBe('its tokeniser must return one, such as () => delimiter(\'\\n\'), and not "\n"');
  expect(problemOfTokeniser({ push: () => [] })).toMatch(/^its tokeniser must return one/);
});

describe('what types would have refused is refused when a driver runs, for it is compiled without them', () => {
  it.each([
    [undefined, {}, 'send takes text, bytes (Buffer.from([0x01])), or a function that gives either, and not undefined'],
    [[1, 2], {}, 'send takes text, bytes (Buffer.from([0x01])), or a function that gives either, and not object'],
    ['x', { timeout: 500 }, 'send has no option timeout; there are name, priority, timeoutMs, retries, wait, delayMs, reply'],
    ['x', { timeoutMs: '500' }, 'the option timeoutMs of send must be a number, and not "500"'],
    ['x', { delayMs: NaN }, 'the option delayMs of send must be a number, and not NaN'],
    ['x', { reply: 'ok' }, 'the option reply of send must be a function, and not "ok"'],
    ['x', { wait: null }, 'the option wait of send must be a boolean, and not null'],
  ])('send(%o, %o)', (data, options, problem) => {
    expect(problemOfSend(data, options)).toBe(problem);
  });

  it.each([
    ['/scenes', "request takes what is asked, such as { path: '/scenes' }, and not \"/scenes\""],
    [undefined, "request takes what is asked, such as { path: '/scenes' }, and not undefined"],
    [{ path: '/', body: { on: true } }, 'the option body of request must be text or bytes, such as JSON.stringify({}), and not object'],
    [{ path: '/', json: {} }, 'request has no option json; there are path, method, headers, body, timeoutMs'],
    [{ path: 7 }, 'the option path of request must be a string, and not number'],
  ])('request(%o)', (given, problem) => {
    expect(problemOfRequest(given)).toBe(problem);
  });

  it('an event that does not exist, or no handler', () => {
    const events = { connected: [], received: [] };
    expect(problemOfListener(events, 'recieved', () => 1)).toBe('there is no event "recieved"; there are connected, received');
    expect(problemOfListener(events, 'toString', () => 1)).toMatch(/^there is no event/);
    expect(problemOfListener(events, 'received', undefined)).toBe('the handler of received must be a function, and not undefined');
  });

  it('and nothing else is', () => {
    for (const data of ['x', Buffer.from('x'), new Uint8Array(1), () => 'x']) expect(problemOfSend(data, { name: 'power', timeoutMs: undefined, reply: () => 'done' })).toBeNull();
    expect(problemOfRequest({ path: '/', method: 'PUT', headers: {}, body: Buffer.from('x'), timeoutMs: 1 })).toBeNull();
    expect([problemOfOptions('cron', { timezone: 'UTC' }), problemOfListener({ stop: [] }, 'stop', () => 1)]).toEqual([null, null]);
  });

  it.each([
    ['send', (ctx: Context) => ctx.send('x', JSON.parse('{"timeout":1}'))],
    ['request', (ctx: Context) => ctx.http.request(JSON.parse('{"path":"/","json":1}'))],
    ['on', (ctx: Context) => ctx.on('received', JSON.parse('7'))],
    ['cron', (ctx: Context) => ctx.schedule.cron('0 3 * * *', () => undefined, JSON.parse('{"timeZone":"UTC"}'))],
    ['in', (ctx: Context) => ctx.schedule.in(1_000, JSON.parse('7'))],
    ['every', (ctx: Context) => ctx.schedule.every(JSON.parse('"5s"'), () => undefined)],
  ])('%s throws it where it was called', async (what, wrong) => {
    const driver = defineDriver({ name: 'test', role: 'device', settings: z.strictObject({}), setup: (ctx) => ({ wrong: () => wrong(ctx) }) });
    const harness = createHarness(driver);
    await harness.start();
    await expect(harness.exec('wrong')).rejects.toMatchObject({
      code: 'DRIVER_FAILED',
      facts: { problem: expect.stringMatching(what === 'in' || what === 'every' ? /^a schedule / : what === 'on' ? /^the handler of received/ : new RegExp(`^${what} has no option`)) },
    });
  });
});
