import { z } from 'zod';
import { HoldfastError } from '../shared/model/errors.ts';

const functionThat = (does: string) => z.custom((given) => typeof given === 'function', `must be a function that ${does}`);

const isSchema = (given: unknown): boolean =>
  typeof given === 'object' && given !== null && 'safeParse' in given && typeof given.safeParse === 'function';

/** What a definition must be where its types are not checked: drivers are compiled without. */
const definitionSchema = z.strictObject({
  name: z.string('must be a text, the name of its file or folder'),
  role: z.enum(['device', 'service', 'logic', 'trigger'], { error: ({ input }) => `must be device, service or logic, not ${shown(input)}` }),
  settings: z.custom(isSchema, 'must be a schema, such as z.strictObject({})'),
  transports: z.array(z.enum(['tcp', 'tls', 'udp', 'http'], 'must be tcp, tls, udp or http'), 'must be a list, such as ["udp"]').optional(),
  tokeniser: functionThat("makes one for each connection, such as () => delimiter('\\n')").optional(),
  delayMs: z.number('must be a number of milliseconds').min(0, 'must not be negative').optional(),
  afterTimeout: z.enum(['keep', 'reconnect'], 'must be keep or reconnect').optional(),
  handoverVersion: z.int('must be a whole number').optional(),
  reconnectOnReload: z.boolean('must be true or false').optional(),
  setup: functionThat('returns the methods, such as () => ({})'),
});

/** Throws INPUT_INVALID with the name of the first field that is wrong. */
export function requireDefinition(given: unknown): void {
  const issue = definitionSchema.safeParse(given).error?.issues[0];
  if (issue === undefined) return;
  if (issue.code === 'unrecognized_keys') {
    const problem = `is no field of a driver; there are ${Object.keys(definitionSchema.shape).join(', ')}`;
    throw new HoldfastError('INPUT_INVALID', { field: issue.keys[0] ?? '', problem });
  }
  throw new HoldfastError('INPUT_INVALID', { field: issue.path.map(String).join('.') || 'the definition', problem: issue.message });
}

/** What a setup returned: a function for each name. Says what is wrong with it; null: nothing. */
export function problemOfMethods(given: unknown): string | null {
  if (typeof given !== 'object' || given === null) return `its setup must return its methods, such as { power: … }, or {} for none, and not ${shown(given)}`;
  const [name] = Object.entries(given).find(([, method]) => typeof method !== 'function') ?? [];
  return name === undefined ? null : `its setup returned ${name}, which is no function`;
}

/** Says what is wrong with what `tokeniser` made; null: nothing. */
export function problemOfTokeniser(given: unknown): string | null {
  const fits = typeof given === 'object' && given !== null && ['push', 'reset'].every((name) => typeof Reflect.get(given, name) === 'function');
  return fits ? null : `its tokeniser must return one, such as () => delimiter('\\n'), and not ${shown(given)}`;
}

const shown = (given: unknown): string => (typeof given === 'string' ? `"${given.slice(0, 50)}"` : given === null ? 'null' : typeof given);
