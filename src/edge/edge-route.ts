import type { EdgeControl } from '../shared/control/edge-control.ts';
import { isExclusive } from '../shared/control/step.ts';
import type { Route } from '../shared/runtime/commands/proxy.ts';

/** Where a command for the location of an edge goes, by its control machine. `connected`: the link is negotiated. */
export function edgeRoute({ state, link, durable }: EdgeControl, connected: boolean, viaMaster: Route): Route {
  if (state === 'holding') return { via: 'here', epoch: durable.epoch };
  if (connected && state === 'standby' && link?.verdict?.winner === 'master') return viaMaster;
  const claimsSoon = state !== 'standby' || connected || !isExclusive(durable.terms);
  return claimsSoon ? { via: 'wait' } : { via: 'nobody', reason: durable.reason };
}

/** Does the master drive, and is it heard? Until a verdict is for the edge it does, also while terms are negotiated anew. */
export const hearsMaster = ({ state, link, durable }: EdgeControl, connected: boolean): boolean =>
  connected && state === 'standby' && durable.holder === 'master' && link !== null && link.verdict?.winner !== 'edge';
