import type { EventView } from '../client-sdk/index.ts';
import { type Cell, clean, instant, type Paint } from './format.ts';

/** How events are shown. */

export const eventHeadings = ['TIME', 'KIND', 'LOCATION', 'WHO', 'WHAT'];

type Facts = Readonly<Record<string, unknown>>;
const text = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

const named = (names: unknown): string => (Array.isArray(names) ? names.map(text).join(', ') : text(names));

/** Who asked has a column of its own. */
function commandText({ what, params, module, method, servedBy, cancelledBy, result, remote }: Facts): string {
  const called = present(method) ? `${text(method)} of ${present(module) ? text(module) : placeOf(params)}` : `${text(what)} ${placeOf(params)}`.trim();
  const end = present(cancelledBy) ? `${text(result)}, cancelled by ${nameOf(cancelledBy)}` : text(result);
  return `${called} → ${end}${present(servedBy) ? `, served by ${text(servedBy)}` : ''}${present(remote) ? `, from ${text(remote)}` : ''}`;
}

const present = (value: unknown): boolean => value !== undefined && value !== null && value !== '';

const nameOf = (by: unknown): string => text(typeof by === 'object' && by !== null && 'user' in by ? by.user : by);

/** `sys-1/Display_1` of what stood in the path. */
function placeOf(params: unknown): string {
  return typeof params === 'object' && params !== null ? Object.values(params).filter(present).map(text).join('/') : '';
}

/** What happened, in one line; by the word of the event, and of those that are not here all facts. */
const sentences: Readonly<Record<string, (facts: Facts) => string>> = {
  control: ({ from, state, holder, reason, epoch }) => `${text(from)} → ${text(state)}: ${text(reason)}; held by ${text(holder)}, epoch ${text(epoch)}`,
  order: ({ order }) => `ordered: ${text(order)}`,
  'link-down': ({ peer, reason }) => `link to ${text(peer)} is down: ${text(reason)}`,
  'link-up': ({ peer, remote }) => `link to ${text(peer)} is up, from ${text(remote)}`,
  'module-problem': ({ module, problem }) => `${text(module)}: ${text(problem)}`,
  'modules-converged': ({ started, stopped, restarted, updated, modules }) => {
    const counts = `${text(started)} started, ${text(stopped)} stopped, ${text(restarted)} restarted, ${text(updated)} updated`;
    return `modules followed their documents: ${counts}: ${named(modules)}`;
  },
  'modules-progress': ({ action, progress, ms }) => `${text(action)} of modules: ${text(progress)}, after ${text(ms)} ms`,
  command: commandText,
  'access-refused': ({ what, reason, remote }) => `${text(what)} → ${text(reason)}, from ${text(remote)}`,
};

/** The kinds of which each event is a request and what came of it. */
const records = new Set<string>(['audit', 'command', 'refused']);
const hidden = new Set(['id', 'kind', 'event', 'time', 'location', 'who', 'requestId']);

function what(event: EventView): string {
  const sentence = Object.hasOwn(sentences, event.event) ? sentences[event.event] : undefined;
  if (sentence !== undefined) return sentence(event);
  const shown = Object.entries(event).filter(([name, value]) => !hidden.has(name) && value !== null);
  const facts = shown.map(([name, value]) => `${name}=${text(value)}`).join(' ');
  return records.has(event.kind) ? facts : `${event.event} ${facts}`.trim();
}

const worrying = new Set([
  'location-not-made', 'link-down', 'link-refused', 'module-problem', 'driver-host-ended', 'driver-isolated',
  'modules-not-started', 'modules-cancelled', 'access-refused', 'refused',
]);

function kindCell({ kind, event }: EventView): Cell {
  if (kind === 'dual-control' || event === 'journal-not-written') return { text: kind, colour: 'red' };
  if (worrying.has(event)) return { text: kind, colour: 'yellow' };
  return kind === 'control' ? { text: kind, colour: 'bold' } : kind;
}

export const eventCells = (event: EventView): Cell[] => [instant(event.time), kindCell(event), event.location ?? '', event.who ?? '', what(event)];

/** The same without a table around it: while following, nobody knows how wide the next one is. */
export function eventLine(event: EventView, paint: Paint): string {
  const cell = kindCell(event);
  const kind = (typeof cell === 'string' ? cell : cell.text).padEnd(12);
  const place = [event.location, event.who].filter((part) => part !== null).join(' ');
  return `${instant(event.time)}  ${typeof cell === 'string' ? kind : paint(kind, cell.colour)}  ${clean(place).padEnd(16)}  ${clean(what(event))}\n`;
}
