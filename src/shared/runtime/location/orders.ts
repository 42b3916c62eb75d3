import type { CancelSignal } from '../../foundation/cancel.ts';
import type { Json } from '../../foundation/json.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Log } from '../../ports/log.ts';
import type { OrderRequest, OrderResult } from '../node.ts';
import { bodyFor, orderAnswer, orderBody, readAnswer, readBody } from '../peer/peer-bodies.ts';
import type { PeerLink } from '../peer/peer-link.ts';
import { codeOf, wordFor } from '../peer/peer-record.ts';

/** An edge passes an order on, for a user of its own. Resolves with the summary; throws what the master answers, and what the link throws. */
export async function passOrderOn(peer: Pick<PeerLink, 'request'>, order: OrderRequest & { entry: string }, signal: CancelSignal): Promise<string> {
  const { location, kind, by, who, entry, requestId, dryRun } = order;
  const body = bodyFor(who, { location, kind, dryRun, user: by, entry, requestId });
  return readAnswer(orderAnswer, await peer.request('order', body, { signal, timeoutMs: limits.orderMs }), 'order');
}

export interface OrderTaker {
  /** Of the link. */
  location: string;
  log: Log;
  order(request: OrderRequest, signal: CancelSignal): Promise<OrderResult>;
}

/** Carries out what the edge of a location passes on. It is on record here as well as there. Resolves with the summary. */
export async function serveOrder({ location, log, order }: OrderTaker, body: Json, signal: CancelSignal): Promise<string> {
  const { user: by, entry, ...asked } = readBody(orderBody, body);
  const { kind, dryRun, who, requestId } = asked;
  // An edge acts on its own location only.
  if (asked.location !== location || entry !== location) throw new HoldfastError('FORBIDDEN', { needs: `an order for ${location}` });
  const line = { what: 'order', who, user: by, via: location, location, method: kind, dryRun };
  try {
    const { summary } = await order({ ...asked, by }, signal);
    log.info('audit', { ...line, summary, result: 'ok', requestId });
    return summary;
  } catch (error) {
    log.info(wordFor('audit', error), { ...line, result: codeOf(error), requestId });
    throw error;
  }
}
