import type { LocationView } from '../shared/runtime/node.ts';

const instant = (ms: number): string => new Date(ms).toISOString();

/** What opening or closing the window means now: whoever opens it wants to know whether control returns. `after` has the window as ordered. */
export function describeWindow(before: LocationView, after: LocationView): string {
  const { id, window } = after;
  if (!window.open) return `the restore window of ${id} is closed: control stays until the next opening or an order`;
  const until = `the restore window of ${id} is open until ${instant(window.closesMs ?? 0)}`;
  const obstacle = obstacleTo(before);
  return obstacle === null ? `${until}: control returns to the edge` : `${until}, but ${obstacle}`;
}

/** Why control does not return although the window is open; null: nothing is in the way. The order is that of what to mend first. */
function obstacleTo({ holder, link, paused, holdDownMs, id }: LocationView): string | null {
  if (holder !== 'master') return 'the master does not have control, so that there is nothing to return';
  if (link === 'down') return 'the edge is not connected: control returns when it comes back in that time';
  if (paused) return `the location is paused: \`holdfast location resume ${id}\``;
  if (holdDownMs > 0) return `a hold-down runs for another ${Math.ceil(holdDownMs / 1_000)} s: only \`holdfast location handback ${id}\` goes before it`;
  return null;
}
