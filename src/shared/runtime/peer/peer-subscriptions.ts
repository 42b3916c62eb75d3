import { Canceller, type CancelSignal } from '../../foundation/cancel.ts';
import { Counts } from '../../foundation/counts.ts';
import type { Json } from '../../foundation/json.ts';
import { isLinkLoss } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Clock, Timer } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Target } from '../documents/directory.ts';

/** What a node asks to be told until it says otherwise: status, log lines. */
export type Topic = 'watch' | 'debug';
const ends = { watch: 'unwatch', debug: 'ignore' } as const;

export interface PeerSubscriptionsOptions {
  clock: Clock;
  log: Log;
  isOpen(): boolean;
  request(kind: Topic | (typeof ends)[Topic], body: Json, options: { signal: CancelSignal; timeoutMs: number }): Promise<Json>;
  /** Nobody holds it any more. */
  released?(topic: Topic, target: Target): void;
}

interface Subscription {
  readonly topic: Topic;
  readonly target: Target;
  /** Called at the first answer of the peer. */
  readonly holders: Set<() => void>;
  /** It was answered once: what it brings is known here. */
  answered: boolean;
  /** The peer has it, in the present session. */
  placed: boolean;
  /** A request about it is under way. */
  busy: boolean;
}

const NEVER = new Canceller().signal;
const keyOf = (topic: Topic, { location, module }: Target): string => `${topic}\n${location}\n${module}`;

/**
 * What this node wants to be told by one peer. However many hold the same thing, the peer is asked once; it is asked
 * again in each new session, and told when the last one lets go.
 */
export class PeerSubscriptions {
  readonly #options: PeerSubscriptionsOptions;
  readonly #all = new Map<string, Subscription>();
  /** Of what is held, by topic. */
  readonly #locations = { watch: new Counts(), debug: new Counts() };
  #session = 0;
  #retry: Timer | null = null;

  constructor(options: PeerSubscriptionsOptions) {
    this.#options = options;
  }

  /** `answered` is called once what the peer knows now has been told, at once if it has been; of lines, in each session. Returns the way to let go. */
  hold(topic: Topic, target: Target, answered: () => void = () => undefined): () => void {
    const key = keyOf(topic, target);
    const subscription = this.#all.get(key) ?? { topic, target, holders: new Set(), answered: false, placed: false, busy: false };
    this.#all.set(key, subscription);
    const holder = (): void => answered();
    if (subscription.holders.size === 0) this.#locations[topic].add(target.location);
    subscription.holders.add(holder);
    if (subscription.answered) holder();
    this.#settle(subscription);
    return () => {
      if (!subscription.holders.delete(holder) || subscription.holders.size > 0) return;
      subscription.answered = false;
      this.#locations[topic].remove(target.location);
      this.#options.released?.(topic, target);
      this.#settle(subscription);
    };
  }

  holds(topic: Topic, target: Target): boolean {
    return (this.#all.get(keyOf(topic, target))?.holders.size ?? 0) > 0;
  }

  /** Is something of a module of this location held? */
  holdsAt(topic: Topic, location: string): boolean {
    return this.#locations[topic].has(location);
  }

  /** The link carries requests. */
  opened(): void {
    for (const subscription of this.#all.values()) this.#settle(subscription);
  }

  /** The session is over: the peer has forgotten everything. */
  ended(): void {
    this.#session += 1;
    this.#retry?.cancel();
    this.#retry = null;
    for (const subscription of this.#all.values()) {
      subscription.placed = false;
      // Values that came once are known; lines that nobody tells now are missed.
      if (subscription.topic === 'debug') subscription.answered = false;
      this.#settle(subscription);
    }
  }

  /** Brings what the peer has in line with what is wanted, one request at a time. */
  #settle(subscription: Subscription): void {
    const { topic, target, holders, placed, busy } = subscription;
    const wanted = holders.size > 0;
    if (busy) return;
    if (wanted === placed) {
      if (!wanted) this.#all.delete(keyOf(topic, target));
      return;
    }
    const { isOpen, request } = this.#options;
    if (!isOpen()) return;
    subscription.busy = true;
    const session = this.#session;
    const { location, module } = target;
    request(wanted ? topic : ends[topic], { location, module }, { signal: NEVER, timeoutMs: limits.requestMs }).then(
      () => {
        subscription.busy = false;
        if (session === this.#session) subscription.placed = wanted;
        // What a session now over has told of values is known; its lines are missed.
        if (wanted && (topic === 'watch' || session === this.#session)) this.#wasAnswered(subscription);
        this.#settle(subscription);
      },
      (error: unknown) => {
        subscription.busy = false;
        if (isLinkLoss(error)) return this.#settle(subscription);
        this.#options.log.warn('subscription-refused', { topic, location, module, error });
        this.#retry ??= this.#options.clock.after(limits.subscriptionRetryMs, () => {
          this.#retry = null;
          this.opened();
        });
      },
    );
  }

  #wasAnswered(subscription: Subscription): void {
    if (subscription.answered || subscription.holders.size === 0) return;
    subscription.answered = true;
    for (const holder of Array.from(subscription.holders)) holder();
  }
}
