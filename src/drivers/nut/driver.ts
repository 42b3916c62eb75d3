import { z } from 'zod';
import { callback, defineDriver, type DriverContext, HoldfastError, latest, method, type SendOptions, type Verdict } from '../../driver-sdk/index.ts';

const word = z.string().regex(/^[A-Za-z0-9][\w.-]{0,99}$/, 'must be a name such as battery.charge');

/** In the hand-over state; a UPS has some dozens. */
const MOST_VARIABLES = 500;

const settings = z.strictObject({
  /** Name of the UPS at its server. */
  ups: word,
  username: z.string().max(100).default(''),
  password: z.string().max(200).default(''),
  pollMs: z.int().min(100).default(2_000),
  timeoutMs: z.int().min(100).default(5_000),
});

const savedSchema = z.object({ variables: z.array(z.string()).max(MOST_VARIABLES) });

/** A message is one line, or a whole list from `BEGIN LIST` to `END LIST`. */
function endOfAnswer(buffer: Buffer): number {
  const isList = buffer.toString('latin1', 0, LIST.length) === LIST;
  const lastLine = isList ? buffer.indexOf('\nEND LIST ') + 1 : 0;
  if (isList && lastLine === 0) return -1;
  const end = buffer.indexOf(10, lastLine);
  return end === -1 ? -1 : end + 1;
}
const LIST = 'BEGIN LIST ';

/** A UPS behind a Network UPS Tools server. It pushes nothing, so it is asked at a fixed pace. */
export const nutDriver = defineDriver({
  name: 'nut',
  role: 'device',
  settings,
  tokeniser: () => callback(endOfAnswer),
  // `OK` and `ERR` do not say to what.
  afterTimeout: 'reconnect',
  handoverVersion: 2,
  setup(ctx) {
    const { status, settings: own } = ctx;
    const ask = <T>(command: string, reply: (answer: string) => Verdict<T>, more: Pick<SendOptions, 'name' | 'retries'> = {}): Promise<T | null> =>
      ctx.send(`${command}\n`, {
        timeoutMs: own.timeoutMs,
        ...more,
        reply: (message) => judge(message.toString(), reply),
      });
    const accepted = (answer: string): Verdict<null> => (answer.startsWith('OK') ? 'done' : 'ignore');

    /** What is shown, also by the other side before. */
    const shown = new Set(ctx.handover.restore(savedSchema)?.variables ?? []);
    ctx.handover.save(() => ({ variables: [...shown].slice(0, MOST_VARIABLES) }));

    const refresh = latest(async () => {
      let variables: ReadonlyMap<string, string> | null;
      try {
        variables = await ask(`LIST VAR ${own.ups}`, (answer) => listed(answer, own.ups), { name: 'refresh' });
      } catch (error) {
        if (isRefusal(error)) {
          // The server does not reach the UPS (DATA-STALE, DRIVER-NOT-CONNECTED): what it said last may be long over.
          show(status, shown, new Map());
          status.set('on_battery', null);
          status.set('low_battery', null);
        }
        throw error;
      }
      if (variables !== null) show(status, shown, variables);
      const states = (variables?.get('ups.status') ?? '').split(' ');
      // Without either, as while its server starts (WAIT), it says nothing about the mains.
      if (!states.includes('OB') && !states.includes('OL')) return;
      status.set('on_battery', states.includes('OB'));
      status.set('low_battery', states.includes('LB'));
    });
    ctx.on('opened', async () => {
      if (own.username === '') return;
      await ask(`USERNAME ${quoted(own.username)}`, accepted);
      await ask(`PASSWORD ${quoted(own.password)}`, accepted);
    });
    ctx.on('connected', refresh);
    ctx.schedule.every(own.pollMs, async () => {
      if (status.get('connected') === true) await refresh();
    });

    return {
      get: method(z.tuple([word]), async (name) => {
        const value = await ask(`GET VAR ${own.ups} ${name}`, (answer) => only(answer, `VAR ${own.ups} ${name} `));
        status.set(name, value);
        shown.add(name);
        return value;
      }),
      set: method(z.tuple([word, z.string().max(200)]), async (name, value) => {
        await ask(`SET VAR ${own.ups} ${name} ${quoted(value)}`, accepted);
        await refresh();
        return value;
      }),
      command: method(z.tuple([word]), async (name) => {
        // One that was carried out must not be carried out again because its answer is late.
        await ask(`INSTCMD ${own.ups} ${name}`, accepted, { retries: 0 });
        return null;
      }),
    };
  },
});

/** What the UPS has no more must not stay. */
function show(status: DriverContext<unknown>['status'], shown: Set<string>, variables: ReadonlyMap<string, string>): void {
  for (const name of shown) if (!variables.has(name)) status.set(name, null);
  shown.clear();
  for (const [name, value] of variables) {
    status.set(name, value);
    shown.add(name);
  }
}

const isRefusal = (error: unknown): boolean => error instanceof HoldfastError && error.code === 'DEVICE_REFUSED';

function judge<T>(message: string, reply: (answer: string) => Verdict<T>): Verdict<T> {
  const answer = message.trimEnd();
  return answer.startsWith('ERR ') ? { abort: answer.slice('ERR '.length) } : reply(answer);
}

/** `VAR lab battery.charge "97"` → 97 as text. */
function only(answer: string, start: string): Verdict<string> {
  return answer.startsWith(start) ? { value: unquoted(answer.slice(start.length)) } : 'ignore';
}

function listed(answer: string, ups: string): Verdict<ReadonlyMap<string, string>> {
  if (!answer.startsWith(`BEGIN LIST VAR ${ups}\n`)) return 'ignore';
  const start = `VAR ${ups} `;
  const variables = new Map<string, string>();
  for (const line of answer.split('\n')) {
    if (!line.startsWith(start)) continue;
    const [name = '', ...rest] = line.slice(start.length).split(' ');
    variables.set(name, unquoted(rest.join(' ')));
  }
  return { value: variables };
}

const unquoted = (text: string): string => text.replace(/^"|"$/g, '').replaceAll(/\\(["\\])/g, '$1');
/** An argument as the server reads it; a line end would begin another command. */
const quoted = (text: string): string => `"${text.replaceAll(/[\r\n]/g, ' ').replaceAll(/["\\]/g, String.raw`\$&`)}"`;
