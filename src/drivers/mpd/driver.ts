import { z } from 'zod';
import { callback, defineDriver, type DriverContext, type Json, latest, method, type SendOptions, type Verdict } from '../../driver-sdk/index.ts';

const settings = z.strictObject({
  /** Asks whether the player is still there this often. */
  pollMs: z.int().min(1_000).default(10_000),
  timeoutMs: z.int().min(100).default(5_000),
});

const volume = z.int().min(0).max(100);
/** Seconds since the player started. */
const uptime = z.int().min(0);
/** As the player said last. `startedMs`: by the clock on the wall. */
const savedSchema = z.object({ volume: volume.nullable(), uptime: uptime.nullable(), startedMs: z.number().nullable() });

/** By so much clocks of servers may differ, or be set. */
const CLOCKS_MS = 60_000;

/** What the player pushes changes of. */
const SUBSYSTEMS = 'player mixer options playlist';

/** A message is everything up to the line that ends an answer: `OK`, `OK MPD 0.23.5`, or `ACK [5@0] {play} …`. */
function endOfAnswer(buffer: Buffer): number {
  let start = 0;
  for (let end = buffer.indexOf(10); end !== -1; end = buffer.indexOf(10, start)) {
    const line = buffer.toString('utf8', start, Math.min(end, start + 7));
    start = end + 1;
    if (line === 'OK' || line.startsWith('OK MPD') || line.startsWith('ACK ')) return start;
  }
  return -1;
}

/**
 * Music Player Daemon. The connection rests in `idle`, in which the player pushes what changed. Each command leaves
 * as one block: end the rest, run a list, rest again. Only the answer to a list holds `list_OK`, so it is never taken
 * for the end of a rest that a change had ended already.
 */
export const mpdDriver = defineDriver({
  name: 'mpd',
  role: 'device',
  settings,
  tokeniser: () => callback(endOfAnswer),
  // `list_OK` does not say to what.
  afterTimeout: 'reconnect',
  handoverVersion: 3,
  setup(ctx) {
    const { status, settings: own } = ctx;
    let known = ctx.handover.restore(savedSchema) ?? { volume: null, uptime: null, startedMs: null };
    ctx.handover.save(() => known);

    const run = (command: string, options: SendOptions = {}, isAnswer: (text: string) => boolean = () => true): Promise<string | null> =>
      ctx.send(`noidle\ncommand_list_ok_begin\n${command}\ncommand_list_end\nidle ${SUBSYSTEMS}\n`, {
        timeoutMs: own.timeoutMs,
        ...options,
        reply: (message) => judge(message.toString(), isAnswer),
      });
    const ask = async (): Promise<ReadonlyMap<string, string>> => {
      const fields = fieldsOf((await run('status\ncurrentsong\nstats', { name: 'refresh' }, (text) => /^state: /m.test(text))) ?? '');
      publish(status, fields);
      return fields;
    };
    const refresh = latest(async () => {
      const fields = await ask();
      const upFor = uptime.safeParse(numberOf(fields, 'uptime')).data ?? null;
      const startedMs = upFor === null ? null : ctx.now() - upFor * 1_000;
      const now = { volume: volumeOf(fields), uptime: upFor, startedMs };
      const before = known;
      known = { volume: now.volume ?? before.volume, uptime: upFor ?? before.uptime, startedMs: startedMs ?? before.startedMs };
      // Only who started anew has forgotten it: what somebody did at the player itself, also while we were cut off, stands.
      const isNew = startedAnew(before, now);
      if (!isNew || before.volume === null || before.volume === now.volume) return;
      await run(`setvol ${before.volume}`, { name: 'volume' });
      known = { ...known, volume: before.volume };
      await ask();
    });
    /** A command that changes something; the status shows it when it resolves. */
    const change = async (command: string, options: SendOptions = {}): Promise<null> => {
      await run(command, options);
      await refresh();
      return null;
    };

    ctx.on('received', async (message) => {
      const text = message.toString();
      if (text.startsWith('OK MPD ')) {
        status.set('version', text.slice('OK MPD '.length).trim());
        await refresh();
      } else if (text.startsWith('changed: ')) {
        await refresh();
      }
    });
    ctx.schedule.every(own.pollMs, async () => {
      if (status.get('connected') === true) await refresh();
    });

    return {
      play: () => change('play', { name: 'transport' }),
      pause: method(z.tuple([z.boolean().default(true)]), (on) => change(`pause ${on ? 1 : 0}`, { name: 'transport' })),
      stop: () => change('stop', { name: 'transport' }),
      next: () => change('next', ONCE),
      previous: () => change('previous', ONCE),
      volume: method(z.tuple([volume]), async (level) => {
        await change(`setvol ${level}`, { name: 'volume' });
        // Some players tell it only while they play.
        known = { ...known, volume: level };
        return level;
      }),
      repeat: method(z.tuple([z.boolean()]), (on) => change(`repeat ${on ? 1 : 0}`, { name: 'repeat' })),
      add: method(z.tuple([z.string().min(1).max(1_000)]), (uri) => change(`add ${quoted(uri)}`, ONCE)),
      clear: () => change('clear'),
      outputs: async () => outputsOf((await run('outputs')) ?? ''),
    };
  },
});

/** It has been up for less than before; or, after it was away for long, it began to be so later than before. */
function startedAnew(before: Started, now: Started): boolean {
  if (before.uptime !== null && now.uptime !== null && now.uptime < before.uptime) return true;
  return before.startedMs !== null && now.startedMs !== null && now.startedMs > before.startedMs + CLOCKS_MS;
}

type Started = Pick<z.output<typeof savedSchema>, 'uptime' | 'startedMs'>;

/** What was carried out must not be carried out again because its answer is late. */
const ONCE: SendOptions = { retries: 0 };

function publish(status: DriverContext<unknown>['status'], fields: ReadonlyMap<string, string>): void {
  status.set('state', fields.get('state') ?? null);
  status.set('volume', volumeOf(fields));
  status.set('repeat', fields.get('repeat') === '1');
  status.set('queue_length', numberOf(fields, 'playlistlength'));
  status.set('song', fields.get('Title') ?? fields.get('file') ?? null);
  status.set('elapsed', numberOf(fields, 'elapsed'));
  status.set('error', fields.get('error') ?? null);
}

function judge(text: string, isAnswer: (text: string) => boolean): Verdict<string> {
  const refusal = /^ACK \[\d+@\d+\] \{\w*\} (.*)$/m.exec(text);
  if (refusal !== null) return { abort: refusal[1] ?? 'refused' };
  return /^list_OK$/m.test(text) && isAnswer(text) ? { value: text } : 'ignore';
}

const numberOf = (fields: ReadonlyMap<string, string>, name: string): number | null => (fields.has(name) ? Number(fields.get(name)) : null);

/** -1: it has none now. */
function volumeOf(fields: ReadonlyMap<string, string>): number | null {
  return volume.safeParse(numberOf(fields, 'volume')).data ?? null;
}

/** Each begins with its `outputid`, and has any number of attributes: `attribute: dop=0`. */
function outputsOf(answer: string): Record<string, Json>[] {
  return answer.split(/^(?=outputid: )/m).filter((text) => text.startsWith('outputid: ')).map((text) => {
    const { attribute: _, ...fields } = Object.fromEntries(fieldsOf(text));
    const pairs = [...text.matchAll(/^attribute: ([^=\n]*)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value]);
    return { ...fields, attributes: Object.fromEntries(pairs) };
  });
}

function fieldsOf(answer: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const line of answer.split('\n')) {
    const colon = line.indexOf(': ');
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 2));
  }
  return fields;
}

/** An argument as the player reads it; a line end would begin another command. */
const quoted = (text: string): string => `"${text.replaceAll(/[\r\n]/g, ' ').replaceAll(/["\\]/g, String.raw`\$&`)}"`;
