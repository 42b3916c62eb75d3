import { describe, expect, it } from 'vitest';
import { problemOfMethods, problemOfTokeniser, requireDefinition } from '../../src/driver-sdk/definition.ts';
import { delimiter, z } from '../../src/driver-sdk/index.ts';

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
