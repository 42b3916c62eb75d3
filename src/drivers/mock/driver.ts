import { z } from 'zod';
import { defineDriver, delimiter, method, type SendOptions, type Verdict } from '../../driver-sdk/index.ts';

const settings = z.strictObject({
  /** Sends `ping` this often while connected; null: never. */
  pollMs: z.int().min(10).nullable().default(null),
  timeoutMs: z.int().min(10).default(5_000),
  retries: z.int().min(0).max(10).default(3),
  delayMs: z.int().min(0).default(0),
});

const json = z.json();
const nameSchema = z.string().regex(/^[a-z][a-z0-9_]{0,59}$/i, 'must be letters, digits and underscores');
const savedSchema = z.object({ values: z.record(z.string(), json) });

/**
 * Speaks to the mock device of `device-program.ts`, one line a message:
 * `set volume 3` → `ok set volume 3`, `error set <problem>`; `event volume 4` comes without being asked for.
 */
export const mockDriver = defineDriver({
  name: 'mock',
  role: 'device',
  transports: ['tcp', 'tls', 'udp'],
  settings,
  tokeniser: () => delimiter('\n'),
  setup(ctx) {
    const { status, settings: own } = ctx;
    const values = new Map(Object.entries(ctx.handover.restore(savedSchema)?.values ?? {}));
    for (const [key, value] of values) status.set(key, value);
    ctx.handover.save(() => ({ values: Object.fromEntries(values) }));

    const learn = (key: string, value: z.output<typeof json>): void => {
      values.set(key, value);
      status.set(key, value);
    };
    const ask = (command: string, answer: string, options: SendOptions = {}): Promise<z.output<typeof json>> =>
      ctx.send(`${command}\n`, {
        timeoutMs: own.timeoutMs,
        retries: own.retries,
        delayMs: own.delayMs,
        ...options,
        reply: (message) => judge(message.toString(), answer),
      });

    ctx.on('received', (message) => {
      const [word, key, ...rest] = message.toString().split(' ');
      if (word === 'event' && key !== undefined && nameSchema.safeParse(key).success) {
        learn(key, json.parse(JSON.parse(rest.join(' '))));
      } else {
        ctx.log.debug(`not understood: ${message.toString()}`);
      }
    });
    if (own.pollMs !== null) {
      ctx.schedule.every(own.pollMs, async () => {
        if (status.get('connected') === true) await ask('ping', 'ok ping');
      });
    }

    return {
      power: method(z.tuple([z.boolean()]), async (on) => {
        const word = on ? 'on' : 'off';
        await ask(`power ${word}`, `ok power ${word}`, { name: 'power' });
        learn('power', on);
        return on;
      }),
      set: method(z.tuple([nameSchema, json]), async (name, value) => {
        const answer = await ask(`set ${name} ${JSON.stringify(value)}`, `ok set ${name}`, { name: `set ${name}` });
        learn(name, answer);
        return answer;
      }),
      get: method(z.tuple([nameSchema]), async (name) => {
        const answer = await ask(`get ${name}`, `ok get ${name}`);
        learn(name, answer);
        return answer;
      }),
      echo: method(z.tuple([json]), (value) => ask(`echo ${JSON.stringify(value)}`, 'ok echo')),
      fail: () => ask('fail', 'ok fail'),
      slow: method(z.tuple([z.int().min(0).max(60_000)]), async (ms) => {
        await ask(`slow ${ms}`, `ok slow ${ms}`, { timeoutMs: ms + own.timeoutMs });
        return ms;
      }),
    };
  },
});

/**
 * `answer` and then, after a space, the value as JSON if there is one. A late answer to an older command is ignored.
 */
function judge(message: string, answer: string): Verdict<z.output<typeof json>> {
  if (message === answer) return 'done';
  if (message.startsWith(`${answer} `)) return { value: json.parse(JSON.parse(message.slice(answer.length + 1))) };
  const verb = answer.split(' ')[1] ?? '';
  if (message.startsWith(`error ${verb} `)) return { abort: message.slice(`error ${verb} `.length) };
  return 'ignore';
}
