import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import { locationRoutes as routes } from '../../client-api/location-routes.ts';
import type { LocationView, OrderKind } from '../../runtime/node.ts';
import { withDeadline } from '../deadline.ts';
import { answer } from './handler.ts';
import type { Handler, HandlerDeps } from './handler.ts';
import { pageOf } from '../lists.ts';
import { listHeaders } from '../reply.ts';
import { historyOf, locationOf } from '../views.ts';

export function locationHandlers({ node, clock, cancelling }: HandlerDeps) {
  const find = (id: string): LocationView => {
    const view = node.location(id);
    if (view === null) throw new HoldfastError('NOT_FOUND', { kind: 'location', id });
    return view;
  };
  const orderOf = (route: (typeof routes)[OrderKind], kind: OrderKind): Handler =>
    answer(route, async ({ params, body, caller, requestId, note }) => {
      note({ dryRun: body.dry_run });
      find(params.id);
      const request = { location: params.id, kind, by: caller.user, who: caller.id, requestId, dryRun: body.dry_run };
      // Only a shutdown cancels it: an order half carried out because its client left would surprise everybody.
      const result = await withDeadline(clock, limits.orderMs + limits.claimMs, cancelling, (signal) => node.order(request, signal));
      note({ summary: result.summary });
      return {
        body: { before: locationOf(result.before), after: locationOf(result.after), summary: result.summary, dry_run: body.dry_run },
      };
    });

  const windowOf = (body: { dry_run: boolean }, location: string, openMs: number | null) => {
    const { before, after, summary } = node.setWindow({ location, openMs, dryRun: body.dry_run });
    return { body: { before: locationOf(before), after: locationOf(after), summary, dry_run: body.dry_run } };
  };

  return {
    edgeList: answer(routes.edgeList, async ({ query }) => {
      const all = node.locations().sort((a, b) => (a.id < b.id ? -1 : 1));
      const { items, total } = pageOf(all, query, (view) => [view.id, view.name]);
      return { body: items.map(locationOf), headers: listHeaders(routes.edgeList.path, query, items.length, total) };
    }),
    edgeShow: answer(routes.edgeShow, async ({ params }) => ({ body: locationOf(find(params.id)) })),
    edgeHistory: answer(routes.edgeHistory, async ({ params, query }) => {
      find(params.id);
      return { body: (await node.history(params.id, query.limit)).map(historyOf).sort((a, b) => b.sequence - a.sequence) };
    }),
    takeover: orderOf(routes.takeover, 'takeover'),
    handback: orderOf(routes.handback, 'handback'),
    pause: orderOf(routes.pause, 'pause'),
    resume: orderOf(routes.resume, 'resume'),
    windowOpen: answer(routes.windowOpen, async ({ params, body, note }) => {
      note({ dryRun: body.dry_run, seconds: body.seconds });
      return windowOf(body, params.id, body.seconds * 1_000);
    }),
    windowClose: answer(routes.windowClose, async ({ params, body, note }) => {
      note({ dryRun: body.dry_run });
      return windowOf(body, params.id, null);
    }),
  };
}

export function enrolmentHandlers({ node }: HandlerDeps) {
  return {
    edgeAdd: answer(routes.edgeAdd, async ({ body, note }) => {
      note({ edge: body.id, location: body.id });
      return { body: { id: body.id, ...(await node.enrolment.add(body.id, body.secret ?? null)) } };
    }),
    edgeRotate: answer(routes.edgeRotate, async ({ params, body }) => ({
      body: { id: params.id, ...(await node.enrolment.rotate(params.id, body.secret ?? null)) },
    })),
    edgeToken: answer(routes.edgeToken, async ({ params }) => ({ body: { token: (await node.enrolment.rotate(params.id, null)).enrolment } })),
    edgeRevoke: answer(routes.edgeRevoke, async ({ params }) => {
      await node.enrolment.revoke(params.id);
      return { body: { id: params.id, revoked: true as const } };
    }),
  };
}
