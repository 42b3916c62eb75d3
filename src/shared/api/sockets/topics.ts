import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { HoldfastNode, PlaceListener, ValueListener } from '../../runtime/node.ts';
import type { SocketFrame, SocketMeta } from '../../client-api/socket.ts';
import { textFrame } from '../../foundation/text-frame.ts';

export interface TopicMember {
  /** The topic has a new frame. */
  changed(topic: Topic): void;
  /** Something that it did not ask for. */
  tell(frame: Uint8Array): void;
  /** Values of a location to which it is bound stand still. */
  standsStill(location: string, ageMs: number): void;
  /** The module of the topic belonged to `from` until now. */
  moved(topic: Topic, from: string | null): void;
}

/** A status variable as clients call it, with everybody who is bound to it under these very words. */
export interface Topic {
  readonly key: string;
  readonly meta: Readonly<Required<SocketMeta>>;
  readonly members: Set<TopicMember>;
  /** Of its module, or (while there is none) of the system; null: nobody knows. */
  location: string | null;
  /** The newest `notify`, encoded once for all members; null: there is no such module yet. */
  frame: Uint8Array | null;
}

interface OpenTopic extends Topic {
  stop(): void;
}

export interface TopicsDeps {
  node: Pick<HoldfastNode, 'desk'>;
  metrics: Metrics;
}

/** All bindings of all sockets: one watch and one frame per variable, however many clients are bound to it. */
export class Topics {
  readonly #deps: TopicsDeps;
  readonly #topics = new Map<string, OpenTopic>();
  #bindings = 0;

  constructor(deps: TopicsDeps) {
    this.#deps = deps;
  }

  all(): Iterable<Topic> {
    return this.#topics.values();
  }

  /** Throws NOT_FOUND when the system does not exist, LIMIT_REACHED. */
  join(meta: Required<SocketMeta>, member: TopicMember): Topic {
    if (this.#bindings >= limits.clientBindings) {
      throw new HoldfastError('LIMIT_REACHED', { what: 'bindings may be open on one server', limit: limits.clientBindings });
    }
    const key = JSON.stringify(meta);
    const topic = this.#topics.get(key) ?? this.#open(key, meta);
    topic.members.add(member);
    this.#count(1);
    return topic;
  }

  leave({ key }: Topic, member: TopicMember): void {
    const topic = this.#topics.get(key);
    if (topic === undefined || !topic.members.delete(member)) return;
    this.#count(-1);
    if (topic.members.size > 0) return;
    this.#topics.delete(key);
    topic.stop();
  }

  #open(key: string, meta: Required<SocketMeta>): OpenTopic {
    const { node } = this.#deps;
    const { sys, mod, index, name } = meta;
    const topic: OpenTopic = { key, meta, members: new Set(), location: null, frame: null, stop: () => undefined };
    const changed: ValueListener = (value, revision) => {
      const frame: SocketFrame = { type: 'notify', value, revision, meta };
      topic.frame = textFrame(JSON.stringify(frame));
      for (const member of topic.members) member.changed(topic);
    };
    const located: PlaceListener = (location) => {
      const from = topic.location;
      topic.location = location;
      if (location !== from) for (const member of topic.members) member.moved(topic, from);
    };
    topic.stop = node.desk.bind({ system: sys, module: mod, index, key: name }, changed, located);
    this.#topics.set(key, topic);
    return topic;
  }

  #count(change: 1 | -1): void {
    this.#bindings += change;
    this.#deps.metrics.set('holdfast_client_bindings', {}, this.#bindings);
  }
}
