import type { Location } from '../client-sdk/index.ts';
import { shortCommit } from '../shared/model/repository.ts';
import { duration, instant } from './format.ts';
import type { Cell } from './format.ts';
import type { Session } from './session.ts';

/** How locations are shown, the same in every command. */

const holderCell = ({ holder, paused }: Location): Cell => ({
  text: holder,
  colour: holder === 'none' ? 'red' : holder === 'master' || paused ? 'yellow' : 'green',
});
const linkCell = ({ link }: Location): Cell => ({ text: link.state, colour: link.state === 'up' ? 'green' : 'red' });

function stateText({ state, paused, due_in, hold_down }: Location): string {
  const more = [
    ...(paused ? ['paused'] : []),
    ...(due_in === null ? [] : [`due in ${duration(due_in)}`]),
    ...(hold_down > 0 ? [`hold-down ${duration(hold_down)}`] : []),
  ];
  return more.length === 0 ? state : `${state} (${more.join(', ')})`;
}

function windowText({ window }: Location, nowSeconds: number): string {
  if (window.open) return window.closes === null ? 'open' : `open for ${duration(window.closes - nowSeconds)}`;
  return window.next === null ? 'by order' : `in ${duration(window.next - nowSeconds)}`;
}

function commitCell({ commit: { wanted, actual, busy, problem } }: Location): Cell {
  if (problem !== null) return { text: `${shortCommit(actual) ?? 'none'}, not ${shortCommit(wanted) ?? 'as wanted'}: ${problem}`, colour: 'red' };
  if (busy) return { text: `${shortCommit(actual) ?? 'none'}, on its way to ${shortCommit(wanted) ?? 'the newest'}`, colour: 'yellow' };
  return shortCommit(actual ?? wanted) ?? '-';
}

function modulesCell({ modules, progress, edited }: Location): Cell {
  if (progress !== null) {
    const { action, done, total, failing } = progress;
    const failed = failing > 0 ? `, ${failing} failing` : '';
    return { text: `${action === 'start' ? 'starting' : 'stopping'} ${done}/${total} modules${failed}`, colour: 'yellow' };
  }
  const text = `${modules.running}/${modules.total}${edited === 0 ? '' : `, ${edited} edited`}`;
  if (modules.failing > 0) return { text: `${text}, ${modules.failing} failing`, colour: 'red' };
  return edited === 0 ? text : { text, colour: 'yellow' };
}

export function locationTable(session: Session, locations: Location[]): string {
  if (locations.length === 0) return 'There are no locations; `holdfast apply` makes them.\n';
  const now = session.deps.clock.wallMs() / 1_000;
  const rows = locations.map((location): Cell[] => [
    location.id,
    holderCell(location),
    duration(now - location.since),
    stateText(location),
    location.reason,
    location.epoch,
    linkCell(location),
    windowText(location, now),
    modulesCell(location),
  ]);
  const table = session.table(['LOCATION', 'HOLDER', 'SINCE', 'STATE', 'WHY', 'EPOCH', 'LINK', 'WINDOW', 'MODULES'], rows);
  const missing = locations.filter(({ state }) => state === 'not-made').map(({ id }) => `The master could not make ${id}. See holdfast doctor.\n`);
  return `${table}${missing.join('')}`;
}

export function locationFields(session: Session, location: Location): [name: string, value: Cell][] {
  const now = session.deps.clock.wallMs() / 1_000;
  return [
    ['id', location.id],
    ['name', location.name],
    ['holder', holderCell(location)],
    ['since', `${instant(location.since)}, ${duration(now - location.since)} ago`],
    ['why', location.reason],
    ['epoch', location.epoch],
    ['state', stateText(location)],
    ['link', linkCell(location)],
    ['policy', location.failover ? location.policy : 'no failover'],
    ['timeout', duration(location.timeout)],
    ['window', windowText(location, now)],
    ['dual control', duration(location.dual_control_seconds)],
    ['modules', modulesCell(location)],
    ['drivers', commitCell(location)],
  ];
}

/** What differs between two states of a location. */
export function locationDifference(session: Session, before: Location, after: Location): string {
  const later = new Map(locationFields(session, after));
  const text = (cell: Cell | undefined): string => (cell === undefined ? '' : typeof cell === 'string' ? cell : cell.text);
  const rows = locationFields(session, before)
    .filter(([name, value]) => text(value) !== text(later.get(name)))
    .map(([name, value]): Cell[] => [name, value, later.get(name) ?? '']);
  return rows.length === 0 ? `${before.id}: nothing differs\n` : session.table([before.id, 'BEFORE', 'AFTER'], rows);
}
