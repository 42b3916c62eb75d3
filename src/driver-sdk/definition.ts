import { z } from 'zod';
import { HoldfastError } from '../shared/model/errors.ts';
import type { SendOptions } from './command-queue.ts';
import type { HttpRequest } from './http.ts';

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

/** What `typeof` must say; null: anything. */
type Kind = 'string' | 'number' | 'boolean' | 'function' | 'object' | null;
type Kinds<Name extends string> = Readonly<Record<Name, Kind>>;

const sendOptions: Kinds<keyof SendOptions | 'reply'> = {
  name: 'string',
  priority: 'number',
  timeoutMs: 'number',
  retries: 'number',
  wait: 'boolean',
  delayMs: 'number',
  reply: 'function',
};
const requestOptions: Kinds<keyof HttpRequest> = { path: 'string', method: 'string', headers: 'object', body: null, timeoutMs: 'number' };
const cronOptions: Kinds<'timezone'> = { timezone: 'string' };
const optionsOf = {
  send: new Map<string, Kind>(Object.entries(sendOptions)),
  request: new Map<string, Kind>(Object.entries(requestOptions)),
  cron: new Map<string, Kind>(Object.entries(cronOptions)),
};

/** An option that is written wrongly would count for nothing. null: none is. */
export function problemOfOptions(of: keyof typeof optionsOf, options: object): string | null {
  const kinds = optionsOf[of];
  for (const [name, given] of Object.entries(options)) {
    const kind = kinds.get(name);
    if (kind === undefined) return `${of} has no option ${name}; there are ${[...kinds.keys()].join(', ')}`;
    const fits = kind === null || given === undefined || (typeof given === kind && !Number.isNaN(given));
    if (!fits) return `the option ${name} of ${of} must be a ${kind}, and not ${shown(given)}`;
  }
  return null;
}

/** Says what is wrong with what `send` was given; null: nothing. */
export function problemOfSend(data: unknown, options: object): string | null {
  if (typeof data !== 'string' && typeof data !== 'function' && !(data instanceof Uint8Array)) {
    return `send takes text, bytes (Buffer.from([0x01])), or a function that gives either, and not ${shown(data)}`;
  }
  return problemOfOptions('send', options);
}

/** Says what is wrong with what `http.request` was given; null: nothing. */
export function problemOfRequest(given: unknown): string | null {
  if (typeof given !== 'object' || given === null || !('path' in given)) {
    return `request takes what is asked, such as { path: '/scenes' }, and not ${shown(given)}`;
  }
  const body: unknown = 'body' in given ? given.body : undefined;
  const isSendable = body === undefined || typeof body === 'string' || body instanceof Uint8Array;
  if (!isSendable) return `the option body of request must be text or bytes, such as JSON.stringify({}), and not ${shown(body)}`;
  return problemOfOptions('request', given);
}

/** Says what is wrong with what `on` was given; null: nothing. */
export function problemOfListener(events: object, event: unknown, handler: unknown): string | null {
  if (typeof event !== 'string' || !Object.hasOwn(events, event)) return `there is no event ${shown(event)}; there are ${Object.keys(events).join(', ')}`;
  return typeof handler === 'function' ? null : `the handler of ${event} must be a function, and not ${shown(handler)}`;
}

function shown(given: unknown): string {
  if (typeof given === 'string') return `"${given.slice(0, 50)}"`;
  return given === null || Number.isNaN(given) ? String(given) : typeof given;
}
