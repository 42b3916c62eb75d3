import { expect, it } from 'vitest';
import { carryOutOrder } from '../../src/edge/edge-orders.ts';
import { bootEdge } from '../../src/shared/control/edge-control.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import type { OrderRequest, OrderResult } from '../../src/shared/runtime/node.ts';
import { unknownTerms } from '../../src/shared/runtime/location/location-view.ts';
import { serveOrder } from '../../src/shared/runtime/location/orders.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { locationView } from '../support/fake-node.ts';
import { createMemoryLog } from '../support/memory-log.ts';

const { signal } = new AbortController();
const view = locationView('berlin');
const takeover: OrderRequest = { location: 'berlin', kind: 'takeover', by: 'anna', who: 'key-anna', requestId: 'r-1', dryRun: false };

/** An order at the edge of Berlin, over its link, at a master that does what `carryOut` says. */
function linked(carryOut: () => Promise<OrderResult>) {
  const log = createMemoryLog();
  const served: OrderRequest[] = [];
  const order = async (request: OrderRequest): Promise<OrderResult> => (served.push(request), await carryOut());
  const serve = (body: Json): Promise<string> => serveOrder({ location: 'berlin', log, order }, body, signal);
  const control = { state: bootEdge(null, unknownTerms), post: () => undefined, onChange: () => () => undefined };
  const peer = { state: 'open' as const, request: (_: string, body: Json) => serve(body) };
  const give = (request: OrderRequest) =>
    carryOutOrder({ id: 'berlin', clock: new FakeClock(), log: createMemoryLog(), peer, control, view: () => view }, request, signal);
  const records = () => log.lines.map(({ event, facts }) => [event, facts]);
  return { give, serve, served, records };
}

const record = {
  what: 'order', who: 'key-anna', user: 'anna', via: 'berlin', location: 'berlin', method: 'takeover', dryRun: false, result: 'ok', requestId: 'r-1',
};

it('an order that is given at an edge is on record at the master: whose, by whose credential, what, where it came in, and how it ended', async () => {
  const { give, served, records } = linked(async () => ({ before: view, after: view, summary: 'taken' }));
  expect(await give(takeover)).toMatchObject({ summary: 'taken' });
  await give({ ...takeover, kind: 'pause', dryRun: true, who: undefined });
  expect(served).toEqual([takeover, { ...takeover, kind: 'pause', dryRun: true, who: undefined }]);
  expect(records()).toEqual([
    ['audit', { ...record, summary: 'taken' }],
    ['audit', { ...record, who: undefined, method: 'pause', dryRun: true, summary: 'taken' }],
  ]);
});

it('so is one that the master refuses, or that ends in a bug', async () => {
  const refused = linked(() => Promise.reject(new HoldfastError('ORDER_REFUSED', { location: 'berlin', reason: 'failover is off' })));
  await expect(refused.give(takeover)).rejects.toMatchObject({ code: 'ORDER_REFUSED' });
  expect(refused.records()).toEqual([['audit', { ...record, result: 'ORDER_REFUSED' }]]);
  const broken = linked(() => Promise.reject(new Error('a bug')));
  await expect(broken.give(takeover)).rejects.toThrow('a bug');
  expect(broken.records()).toEqual([['audit', { ...record, result: 'INTERNAL' }]]);
});

it('an edge orders for users of its own, and for its own location', async () => {
  const { serve, served } = linked(async () => ({ before: view, after: view, summary: '' }));
  const body = { location: 'berlin', kind: 'takeover', dryRun: false, user: 'anna', who: 'key-anna', entry: 'berlin', requestId: 'r-1' };
  await expect(serve({ ...body, location: 'lisbon' })).rejects.toMatchObject({ code: 'FORBIDDEN' });
  await expect(serve({ ...body, entry: 'lisbon' })).rejects.toMatchObject({ code: 'FORBIDDEN' });
  await expect(serve({ ...body, kind: 'reboot' })).rejects.toMatchObject({ code: 'INPUT_INVALID', facts: { field: 'kind' } });
  expect(served).toEqual([]);
});
