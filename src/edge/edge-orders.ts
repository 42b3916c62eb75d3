import { type EdgeControl, type EdgeEvent, type EdgeTimer, refuseOverride } from '../shared/control/edge-control.ts';
import type { FromEdge } from '../shared/control/messages.ts';
import type { CancelSignal } from '../shared/foundation/cancel.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { Log } from '../shared/ports/log.ts';
import type { LocationControl } from '../shared/runtime/location/location-control.ts';
import type { LocationView, OrderRequest, OrderResult } from '../shared/runtime/node.ts';
import { passOrderOn } from '../shared/runtime/location/orders.ts';
import type { PeerLink } from '../shared/runtime/peer/peer-link.ts';
import { until } from '../shared/runtime/until.ts';

export interface EdgeOrderOptions {
  id: string;
  clock: Clock;
  log: Log;
  peer: Pick<PeerLink, 'state' | 'request'>;
  control: Pick<LocationControl<EdgeControl, EdgeEvent, FromEdge, EdgeTimer>, 'state' | 'post' | 'onChange'>;
  view(location: string): LocationView | null;
}

/** Connected: the master carries the order out. Cut off: the person on site may take control here. */
export async function carryOutOrder(options: EdgeOrderOptions, request: OrderRequest, signal: CancelSignal): Promise<OrderResult> {
  const { id, clock, log, peer, control, view } = options;
  const before = view(request.location);
  if (before === null) throw new HoldfastError('NOT_FOUND', { kind: 'location', id: request.location });
  if (peer.state === 'open') {
    const summary = await passOrderOn(peer, { ...request, entry: id }, signal);
    return { before, after: view(request.location) ?? before, summary };
  }
  const refusal = request.kind === 'takeover' ? refuseOverride(control.state) : 'the master cannot be reached; only `takeover` works here';
  if (refusal !== null) throw new HoldfastError('ORDER_REFUSED', { location: request.location, reason: refusal });
  const after = { ...before, holder: 'edge' as const, state: 'holding', reason: 'operator-override' };
  if (request.dryRun) return { before, after, summary: `the edge would take control of ${id} without asking the master` };
  log.info('order', { location: id, order: request.kind, by: request.by });
  control.post({ type: 'override', nowMs: clock.monotonicMs() });
  await until(() => control.state.state === 'holding', (listener) => control.onChange(listener), { clock, timeoutMs: limits.orderMs, signal });
  return { before, after: view(id) ?? before, summary: `the edge took control of ${id} without asking the master` };
}
