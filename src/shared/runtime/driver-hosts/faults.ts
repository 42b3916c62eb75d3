import type { HostEnd } from './host-peer.ts';

/** So many modules are named beside the one that is told. */
const NAMED = 5;

/**
 * What is said of the modules of a host that ended, by their keys: of the culprit that the host has named what it did. Where it
 * ended without a word (native code crashed, the kernel ran out of memory) a suspicion: of the only module there or the only one
 * with a call under way, otherwise of all with calls, or (without calls) of all. `there`: the modules of the host.
 */
export function faultsOf({ reason, words, atWork }: HostEnd, there: readonly string[]): ReadonlyMap<string, string> {
  const how = firstLine(reason);
  if (words?.culprit != null) return new Map([[words.culprit, `it ended its driver host: ${how}`]]);
  if (atWork === null) return new Map();
  const known = new Set(there);
  // One that was removed meanwhile has no status any more.
  const busy = atWork.filter((key) => known.has(key));
  const suspects = busy.length > 0 ? busy : there;
  const alone = there.length === 1 ? 'was there' : busy.length === 1 ? 'had a call under way' : null;
  const silently = `its driver host ended without a word (${how}) while`;
  return new Map(
    suspects.map((key) => {
      if (alone !== null) return [key, `it seems to have ended its driver host (${how}): no other module ${alone}`];
      return [key, busy.length === 0 ? `${silently} no call was under way` : `${silently} it had a call under way, as had ${othersThan(key, busy)}`];
    }),
  );
}

function othersThan(key: string, suspects: readonly string[]): string {
  const others = suspects.filter((other) => other !== key).map((other) => other.slice(other.indexOf('/') + 1));
  const more = others.length > NAMED ? ` and ${others.length - NAMED} more` : '';
  return `${others.slice(0, NAMED).join(', ')}${more}`;
}

/** Without the stack. */
const firstLine = (text: string): string => text.split('\n', 1)[0] ?? '';
