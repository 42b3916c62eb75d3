import type { Route } from '../client-api/route.ts';
import type { Holder } from '../model/control.ts';
import type { HoldfastNode, LocationView } from '../runtime/node.ts';
import type { RequestHeaders } from './auth/auth.ts';
import { known } from './modules.ts';
import type { BodyReply, Headers } from './reply.ts';

/** A request may be sent on so often; then it is served here, by proxy: two servers that disagree must not play ball with it. */
const MAX_HOPS = 2;
const HOPS = 'redirect_hops';

export interface DirectedRequest {
  route: Pick<Route, 'path' | 'masterOnly'>;
  params: unknown;
  headers: RequestHeaders;
  /** Path and query as they came. */
  url: string;
}

type Node = Pick<HoldfastNode, 'role' | 'location' | 'members' | 'desk' | 'locationOfSystem' | 'freshness'>;

/**
 * Which server has control of what a request is about, and for how many seconds values of it stand still here: said in each
 * answer. `path`: of its route, such as `/api/engine/v2/systems/:id`.
 */
export function holderHeaders(node: Node, { path, params }: { path: string; params: unknown }): Headers {
  const view = viewOf(node, path, params);
  if (view === null) return {};
  const origin = originOf(node, view.id, view.holder);
  return { ...(origin === null ? {} : { 'x-holdfast-origin': origin }), ...statusAge(node.freshness.ageMs(view.id)) };
}

/** For how many seconds values stand still; null: they do not. */
export const statusAge = (ageMs: number | null): Headers => (ageMs === null ? {} : { 'x-holdfast-status-age': String(Math.ceil(ageMs / 1_000)) });

/** To where it is served best; null: it is served here, as is what no edge may do, whoever has control. */
export function redirectOf(node: Node, request: DirectedRequest): BodyReply | null {
  const { route, params, url } = request;
  // A request as to a proxy has an address of its own, which is not to get into ours.
  if (!/\bredirect\b/.test(String(request.headers['prefer'] ?? '')) || !url.startsWith('/')) return null;
  const view = route.masterOnly ? null : viewOf(node, route.path, params);
  const to = view === null ? 'none' : serverFor(node.role, view);
  const origin = view === null || to === node.role ? null : originOf(node, view.id, to);
  if (origin === null) return null;
  const end = url.indexOf('?');
  const path = end === -1 ? url : url.slice(0, end);
  const query = new URLSearchParams(url.slice(path.length));
  const hops = Number(query.get(HOPS) ?? 0);
  // A credential of the query would be repeated in our answer.
  if (!(hops < MAX_HOPS) || query.has('api-key') || query.has('bearer_token')) return null;
  query.set(HOPS, String(hops + 1));
  const location = `${origin}${path}?${query.toString()}`;
  return { kind: 'json', status: 307, headers: { location }, body: { location } };
}

/**
 * Where clients of a location are served best, as this server sees it; 'none': nowhere else. An edge of an `exclusive` location
 * that has no link may hold no longer than its lease: the master is next, and hears or says nothing of it.
 */
export function serverFor(role: 'edge' | 'master', { holder, policy, failover, link }: LocationView): Holder {
  const leaseRunsOut = policy === 'exclusive' && failover && link === 'down';
  if (!leaseRunsOut || holder === role) return holder;
  return role === 'edge' ? 'master' : 'none';
}

function viewOf(node: Node, path: string, params: unknown): LocationView | null {
  const location = locationOf(node, path, params);
  return location === null ? null : node.location(location);
}

/** Only members are named: what is not in their list is nobody's origin. */
function originOf(node: Node, location: string, server: Holder): string | null {
  return server === 'none' ? null : (node.members().find((member) => member.location === location)?.[server] ?? null);
}

/** What the parameters of a route name as its location, or as a part of it; null: nothing, or nobody knows where it belongs. */
export function locationOf(node: Pick<Node, 'desk' | 'locationOfSystem'>, path: string, params: unknown): string | null {
  const [, kind] = /\/(systems|metadata|edges|nodes|modules)\/:id(?:\/|$)/.exec(path) ?? [];
  if (kind === undefined || typeof params !== 'object' || params === null || !('id' in params) || typeof params.id !== 'string') return null;
  const { id } = params;
  if (kind === 'modules') return known(() => node.desk.locationOf(id));
  return kind === 'systems' || kind === 'metadata' ? node.locationOfSystem(id) : id;
}
