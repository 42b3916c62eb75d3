import { formatEpoch } from '../../control/epoch.ts';
import type { Holder } from '../../model/control.ts';
import type { HoldfastNode } from '../../runtime/node.ts';
import type { SocketFrame } from '../../client-api/socket.ts';
import { textFrame } from '../../foundation/text-frame.ts';
import { serverFor } from '../holder-origin.ts';
import type { TopicMember, Topics } from './topics.ts';

/** Why clients are sent away from a server that stops; the other reasons are those of moves of control. */
const DRAINING = 'draining';
/** Why a client is sent away that has just come. */
const CONTROLLED_ELSEWHERE = 'controlled-elsewhere';
/** Why it is when control has not moved: whoever has it was lost for a while. */
const REACHED_AGAIN = 'reached-again';

type Node = Pick<HoldfastNode, 'role' | 'locations' | 'location' | 'members' | 'locationOfSystem' | 'onControl' | 'freshness'>;

/** Tells the sockets that are bound to systems of a location which server has control of it now, or goes on when this one stops. */
export class Redirects {
  readonly #node: Node;
  readonly #topics: Topics;
  /** Holder by location, as the clients know it. */
  readonly #told: Map<string, Holder>;
  /** Locations of which nobody who drives them has been heard since clients were told where to go. */
  readonly #lost = new Set<string>();
  readonly #stop: () => void;

  constructor(node: Node, topics: Topics) {
    this.#node = node;
    this.#topics = topics;
    this.#told = new Map(node.locations().map(({ id }) => [id, this.#nextOf(id)]));
    const stopControl = node.onControl(({ location, reason }) => {
      const next = this.#nextOf(location);
      if (next === 'none' || next === this.#told.get(location)) return;
      this.#told.set(location, next);
      this.#lost.delete(location);
      this.#send(location, next, reason);
    });
    for (const { id } of node.locations()) if (node.freshness.ageMs(id) !== null) this.#lost.add(id);
    const stopFreshness = node.freshness.onChange((location) => this.#reached(location));
    this.#stop = () => {
      stopControl();
      stopFreshness();
    };
  }

  /** A socket is bound to a system that another server controls; null: it need not go. */
  welcome(system: string): Uint8Array | null {
    const location = this.#node.locationOfSystem(system);
    const next = location === null ? 'none' : this.#nextOf(location);
    if (location === null || next === 'none' || next === this.#node.role || this.#isMoving(location)) return null;
    return this.#frame(location, { to: next, reason: CONTROLLED_ELSEWHERE, sys: system });
  }

  /** While both sides talk of a move, the other one may have let go already: it would send the client back here. */
  #isMoving(location: string): boolean {
    return this.#node.location(location)?.link === 'up' && this.#node.freshness.ageMs(location) !== null;
  }

  #nextOf(location: string): Holder {
    const view = this.#node.location(location);
    return view === null ? 'none' : serverFor(this.#node.role, view);
  }

  /** Clients may have come here meanwhile, because the other server was gone for them too. */
  #reached(location: string): void {
    if (this.#node.freshness.ageMs(location) !== null) this.#lost.add(location);
    else if (this.#lost.delete(location)) {
      const next = this.#nextOf(location);
      if (next !== 'none' && next !== this.#node.role) this.#send(location, next, REACHED_AGAIN);
    }
  }

  /** The last word before a shutdown: the other side goes on. */
  drain(): void {
    this.#stop();
    for (const { id } of this.#node.locations()) this.#send(id, this.#node.role === 'master' ? 'edge' : 'master', DRAINING);
  }

  #send(location: string, to: 'edge' | 'master', reason: string): void {
    for (const [sys, sockets] of this.#boundTo(location)) {
      const frame = this.#frame(location, { to, reason, sys });
      if (frame !== null) for (const socket of sockets) socket.tell(frame);
    }
  }

  /** Only to members: an origin that is not known is nobody's. */
  #frame(location: string, { to, reason, sys }: { to: 'edge' | 'master'; reason: string; sys: string }): Uint8Array | null {
    const view = this.#node.location(location);
    const member = this.#node.members().find((candidate) => candidate.location === location);
    const origin = member?.[to] ?? null;
    if (view === null || member === undefined || origin === null) return null;
    const other = member[to === 'edge' ? 'master' : 'edge'];
    const alternatives = other === null || other === origin ? [] : [other];
    const frame: SocketFrame = { type: 'redirect', reason, location, sys, origin, alternatives, epoch: formatEpoch(view.epoch) };
    return textFrame(JSON.stringify(frame));
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
