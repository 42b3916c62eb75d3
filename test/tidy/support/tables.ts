import { writeFileSync } from 'node:fs';
import { defaultTimings } from '../../../src/shared/control/lease.ts';
import { type Route, routes } from '../../../src/shared/client-api/routes.ts';
import { socketCommands, socketErrors } from '../../../src/shared/client-api/socket.ts';
import { postTypes, requestKinds } from '../../../src/shared/link/frames.ts';
import { configTable } from '../../../src/shared/model/config.ts';
import { errorTable } from '../../../src/shared/model/errors.ts';
import { eventKinds, eventsKept, eventTable, kindNames } from '../../../src/shared/model/events.ts';
import { limits } from '../../../src/shared/model/limits.ts';
import { metricTable } from '../../../src/shared/ports/metrics.ts';
import { commandsOf, type Option, programForDocs } from './program.ts';
import { exists, read, root } from './sources.ts';

/**
 * Tables of the documentation that the program itself knows. Each stands between two marks and is written by
 * `npm run docs`; the tests compare. Where the program cannot know the words (why a limit is what it is), the last
 * column belongs to people: it is kept when the table is written again, and may not be empty.
 */
export interface Table {
  file: string;
  name: string;
  head: readonly string[];
  /** Without the column of people. */
  rows: () => string[][];
  /** Head of the column that people write; null: there is none. */
  people: string | null;
}

const code = (text: string): string => `\`${text}\``;
const cell = (text: string): string => text.replaceAll('|', String.raw`\|`).replaceAll('\n', ' ');
const yesOrNo = (value: boolean): string => (value ? 'yes' : 'no');
const option = ({ flags, description, standard }: Option): string =>
  `${code(flags)} ${description}${standard === null ? '' : ` (default ${code(standard)})`}`;

export const tables: readonly Table[] = [
  {
    file: 'docs/errors.md',
    name: 'errors',
    head: ['code', 'HTTP', 'facts', 'message', 'what to do'],
    people: null,
    rows: () =>
      Object.entries(errorTable).map(([name, { status, facts, message, help }]) => [
        code(name),
        String(status),
        facts.map(code).join(', '),
        message,
        help,
      ]),
  },
  {
    file: 'docs/limits.md',
    name: 'limits',
    head: ['limit', 'value'],
    people: 'reason',
    rows: () => Object.entries(limits).map(([name, value]) => [code(name), readable(name, value)]),
  },
  {
    file: 'docs/control.md',
    name: 'timings',
    head: ['name', 'value'],
    people: 'meaning',
    rows: () => timings().map(([name, value]) => [code(name), readable(name, value)]),
  },
  {
    file: 'docs/link.md',
    name: 'requests',
    head: ['request', 'epoch', 'bulk'],
    people: 'meaning',
    rows: () => Object.entries(requestKinds).map(([kind, { epoch, bulk }]) => [code(kind), yesOrNo(epoch), yesOrNo(bulk)]),
  },
  {
    file: 'docs/link.md',
    name: 'posts',
    head: ['post', 'epoch'],
    people: 'meaning',
    rows: () => Object.entries(postTypes).map(([type, { epoch }]) => [code(type), yesOrNo(epoch)]),
  },
  {
    file: 'docs/api.md',
    name: 'commands',
    head: ['command', 'role', 'meaning'],
    people: null,
    rows: () => Object.entries(socketCommands).map(([name, { role, description }]) => [code(name), role, description]),
  },
  {
    file: 'docs/api.md',
    name: 'socket errors',
    head: ['code', 'meaning'],
    people: null,
    rows: () => Object.values(socketErrors).map(({ code: number, meaning }) => [String(number), meaning]),
  },
  {
    file: 'docs/operations.md',
    name: 'variables',
    head: ['variable', 'role', 'default', 'meaning'],
    people: null,
    rows: () => Object.entries(configTable).map(([name, row]) => [code(name), row.roles.join(', '), row.default, row.description]),
  },
  {
    file: 'docs/operations.md',
    name: 'metrics',
    head: ['metric', 'type', 'labels', 'meaning'],
    people: null,
    rows: () => Object.entries(metricTable).map(([name, { type, labels, help }]) => [code(name), type, labels.map(code).join(', '), help]),
  },
  {
    file: 'docs/operations.md',
    name: 'event kinds',
    head: ['kind', 'who sees it', 'kept', 'meaning'],
    people: null,
    rows: () => kindNames.map((kind) => [code(kind), eventKinds[kind].role, eventsKept(kind).toLocaleString('en'), eventKinds[kind].meaning]),
  },
  {
    file: 'docs/operations.md',
    name: 'events',
    head: ['event', 'kind', 'facts', 'meaning'],
    people: null,
    rows: () => Object.entries(eventTable).map(([word, { kind, facts, meaning }]) => [code(word), code(kind), facts.map(code).join(', '), meaning]),
  },
  {
    file: 'docs/api.md',
    name: 'routes',
    head: ['route', 'role', 'answer', 'meaning'],
    people: null,
    rows: () =>
      Object.values<Route>(routes).map((route) => [
        code(`${route.method} ${route.path}`),
        roleOf(route),
        route.answer,
        route.description,
      ]),
  },
  {
    file: 'docs/cli.md',
    name: 'commands',
    head: ['command', 'what it does', 'options'],
    people: null,
    rows: () =>
      commandsOf(programForDocs()).map(({ usage, description, options }) => [
        code(usage),
        description,
        options.map(option).join('<br>'),
      ]),
  },
  {
    file: 'docs/cli.md',
    name: 'global-options',
    head: ['option of every command'],
    people: null,
    rows: () => commandsOf(programForDocs(), true).flatMap(({ options }) => options.map((one) => [option(one)])),
  },
];

function timings(): [name: string, value: number][] {
  const { flap, ...others } = defaultTimings;
  return [...Object.entries(others), ...Object.entries(flap).map(([name, value]): [string, number] => [`flap.${name}`, value])];
}

function roleOf({ role, adminOf, masterOnly }: Route): string {
  const more = [...(adminOf === null ? [] : ['listed in `admins`']), ...(masterOnly ? ['at the master'] : [])];
  return [role ?? 'nobody asked', ...more].join(', ');
}

/** `10,000 ms`, `8 MiB`, `4,096`: the unit is in the name. */
function readable(name: string, value: number): string {
  if (name.endsWith('Bytes')) {
    if (value % (1024 * 1024) === 0) return `${value / (1024 * 1024)} MiB`;
    return value % 1024 === 0 ? `${value / 1024} KiB` : `${value.toLocaleString('en')} B`;
  }
  if (name.endsWith('Megabytes')) return `${value} MiB`;
  if (!name.endsWith('Ms')) return value.toLocaleString('en');
  if (value % 86_400_000 === 0) return `${value / 86_400_000} d`;
  return value % 1_000 === 0 ? `${(value / 1_000).toLocaleString('en')} s` : `${value.toLocaleString('en')} ms`;
}

const begin = (name: string): string => `<!-- table: ${name} (npm run docs) -->`;
const end = (name: string): string => `<!-- end: ${name} -->`;

/** What stands between the marks; null: they are not there. */
export function written({ file, name }: Table): string | null {
  if (!exists(file)) return null;
  const text = read(file);
  const from = text.indexOf(begin(name));
  const to = text.indexOf(end(name));
  return from === -1 || to === -1 ? null : text.slice(from + begin(name).length, to).trim();
}

/** What people wrote, by the first cell of its row. */
export function peopleOf(table: Table): Map<string, string> {
  const rows = (written(table) ?? '').split('\n').slice(2);
  const cells = rows.map((row) => row.split(/(?<!\\)\|/).slice(1, -1).map((text) => text.trim()));
  return new Map(cells.map((row) => [row[0] ?? '', row.at(-1) ?? '']));
}

/** The table as it should stand there. */
export function render(table: Table): string {
  const people = table.people === null ? null : peopleOf(table);
  const head = people === null || table.people === null ? table.head : [...table.head, table.people];
  const rows = table.rows().map((row) => row.map(cell));
  if (people !== null) for (const row of rows) row.push(people.get(row[0] ?? '') ?? '');
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

export function rewrite(table: Table): void {
  const text = read(table.file);
  const old = written(table);
  if (old === null) throw new Error(`${table.file} has no ${begin(table.name)} … ${end(table.name)}`);
  const [before = ''] = text.split(begin(table.name));
  const [, after = ''] = text.split(end(table.name));
  writeFileSync(root + table.file, `${before}${begin(table.name)}\n${render(table)}\n${end(table.name)}${after}`);
}
