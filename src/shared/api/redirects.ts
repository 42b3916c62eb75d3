import { formatEpoch } from '../control/epoch.ts';
import type { Holder } from '../model/control.ts';
import type { HoldfastNode } from '../runtime/node.ts';
import type { SocketFrame } from '../client-api/socket.ts';
import { textFrame } from '../foundation/text-frame.ts';
import type { TopicMember, Topics } from './topics.ts';

/** Why clients are sent away from a server that stops; the other reasons are those of moves of control. */
const DRAINING = 'draining';
/** Why an edge of an `exclusive` location lets go while its link is cut. */
const LEASE_ENDED = 'lease-ended';

type Node = Pick<HoldfastNode, 'role' | 'locations' | 'location' | 'members' | 'locationOfSystem' | 'onControl'>;

/** Tells the sockets that are bound to systems of a location which server has control of it now, or goes on when this one stops. */
export class Redirects {
  readonly #node: Node;
  readonly #topics: Topics;
  /** Holder by location, as the clients know it. */
  readonly #told: Map<string, Holder>;
  readonly #stop: () => void;

  constructor(node: Node, topics: Topics) {
    this.#node = node;
    this.#topics = topics;
    this.#told = new Map(node.locations().map(({ id, holder }) => [id, holder]));
    this.#stop = node.onControl(({ location, holder, reason }) => {
      // While nobody holds there is nowhere to go; but without its lease an edge knows who may hold next, and hears no more.
      const next = holder === 'none' && node.role === 'edge' && reason === LEASE_ENDED ? 'master' : holder;
      if (next === 'none' || next === this.#told.get(location)) return;
      this.#told.set(location, next);
      this.#send(location, next, reason);
    });
  }

  /** The last word before a shutdown: the other side goes on. */
  drain(): void {
    this.#stop();
    for (const { id } of this.#node.locations()) this.#send(id, this.#node.role === 'master' ? 'edge' : 'master', DRAINING);
  }

  /** Only to members: an origin that is not known is nobody's. */
  #send(location: string, to: 'edge' | 'master', reason: string): void {
    const view = this.#node.location(location);
    const member = this.#node.members().find((candidate) => candidate.location === location);
    const origin = member?.[to] ?? null;
    if (view === null || member === undefined || origin === null) return;
    const other = member[to === 'edge' ? 'master' : 'edge'];
    const alternatives = other === null || other === origin ? [] : [other];
    for (const [sys, sockets] of this.#boundTo(location)) {
      const frame: SocketFrame = { type: 'redirect', reason, location, sys, origin, alternatives, epoch: formatEpoch(view.epoch) };
      const bytes = textFrame(JSON.stringify(frame));
      for (const socket of sockets) socket.tell(bytes);
    }
  }

  #boundTo(location: string): Map<string, Set<TopicMember>> {
    const bound = new Map<string, Set<TopicMember>>();
    for (const { meta, members } of this.#topics.all()) {
      if (this.#node.locationOfSystem(meta.sys) !== location) continue;
      const sockets = bound.get(meta.sys) ?? new Set();
      bound.set(meta.sys, sockets);
      for (const member of members) sockets.add(member);
    }
    return bound;
  }
}
