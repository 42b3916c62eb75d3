import { type Command, InvalidArgumentError, Option } from 'commander';
import { type EventView, routes } from '../../client-sdk/index.ts';
import { eventCells, eventHeadings, eventLine } from '../event-text.ts';
import { follow } from '../follow.ts';
import { json } from '../format.ts';
import { wholeNumber } from '../outcome.ts';
import type { Session } from '../session.ts';

interface EventsOptions {
  follow?: boolean;
  kind?: string;
  location?: string;
  /** How long ago in seconds, or where in the log. */
  since?: { agoSeconds: number } | { point: string };
  limit?: number;
}

interface Filter {
  kind?: string;
  location?: string;
}

const STANDARD = 50;
const PAGE = 500;

export function addEvents(program: Command, session: Session): void {
  program
    .command('events')
    .description('what happened at this server, oldest first; `--kind audit`: who changed what; `--kind command`: who ran what; `--kind refused`: who may not')
    .option('-f, --follow', 'keep printing what happens, also after the server was away')
    .option('--kind <kinds>', 'only these, separated by commas: control, link, driver, audit, command, refused …')
    .option('--location <id>', 'only of this location')
    .addOption(new Option('--since <when>', 'such as 90s, 15m, 2h, 3d, a date, or the id of an event').argParser(pointInTime))
    .addOption(new Option('-n, --limit <count>', `the newest so many (without --since, ${STANDARD})`).argParser(wholeNumber))
    .action(async (options: EventsOptions) => {
      const { events, next, missing } = await readPages(session, options);
      if (session.asJson) for (const event of events) session.deps.stdout.write(`${json(event)}\n`);
      else if (options.follow === true) for (const event of events) session.deps.stdout.write(eventLine(event, session.paint));
      else session.deps.stdout.write(session.table(eventHeadings, events.map(eventCells)));
      sayMissing(session, missing);
      if (options.follow === true) await followFrom(session, next, filterOf(options));
    });
}

const filterOf = ({ kind, location }: EventsOptions): Filter => ({
  ...(kind === undefined ? {} : { kind }),
  ...(location === undefined ? {} : { location }),
});

interface Pages {
  events: EventView[];
  next: string;
  missing: number | null;
}

/** Everything since a moment, page by page, or the newest. */
async function readPages(session: Session, options: EventsOptions): Promise<Pages> {
  const client = await session.client();
  const filter = filterOf(options);
  const { since, limit } = options;
  if (since === undefined && (limit ?? STANDARD) <= PAGE) return await client.call(routes.eventList, { query: { ...filter, limit: limit ?? STANDARD } });
  const from = beginOf(since, session.deps.clock.wallMs());
  const read = (point: string): Promise<Pages> => client.call(routes.eventList, { query: { ...filter, since: point, limit: PAGE } });
  const first = await read(from);
  const events = [...first.events];
  let { next } = first;
  for (let length = events.length; length === PAGE; ) {
    const page = await read(next);
    events.push(...page.events);
    ({ next } = page);
    ({ length } = page.events);
  }
  return { events: limit === undefined ? events : events.slice(-limit), next, missing: first.missing };
}

/** Pages go forwards only: more than one of the newest is the end of all that the log keeps. */
function beginOf(since: EventsOptions['since'], nowMs: number): string {
  if (since === undefined) return '0';
  return 'point' in since ? since.point : String(Math.max(0, Math.floor(nowMs / 1_000 - since.agoSeconds)));
}

/** Goes on where it was cut off, whoever cut it. */
async function followFrom(session: Session, start: string, filter: Filter): Promise<void> {
  const client = await session.client();
  let since = start;
  await follow(session, (signal) => client.stream(routes.events, { query: { ...filter, since } }, { signal }), {
    opened: () => undefined,
    event: (event) => {
      if (event.kind !== 'event') return;
      const { data } = event;
      if ('id' in data && typeof data.id === 'string') since = data.id;
      if (session.asJson) session.deps.stdout.write(`${json(data)}\n`);
      else if (isEvent(data)) session.deps.stdout.write(eventLine(data, session.paint));
      if (data.kind === 'gap') sayMissing(session, typeof data['missing'] === 'number' ? data['missing'] : null);
    },
  });
}

type Streamed = EventView | { kind: 'gap'; missing: number | null };
const isEvent = (data: Streamed): data is EventView => 'id' in data;

function sayMissing(session: Session, missing: number | null): void {
  if (missing === null) session.note('the log of this server does not have that place: what follows is all that it keeps');
  else if (missing > 0) session.note(`${missing} events of all kinds are not kept any more`);
}

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

function pointInTime(text: string): { agoSeconds: number } | { point: string } {
  const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  if (count !== undefined && unit !== undefined) return { agoSeconds: Number(count) * (units[unit] ?? 1) };
  if (/^[0-9a-f]{8}\.\d+\.\d+$/.test(text)) return { point: text };
  // Of any other text the runtime makes some date or other: 5 would be in May 2001.
  const atMs = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(atMs) || atMs < 0) {
    throw new InvalidArgumentError('It must be such as 15m, 2h or 3d, a date such as 2026-01-31T03:00Z, or the id of an event.');
  }
  return { point: String(atMs / 1_000) };
}
