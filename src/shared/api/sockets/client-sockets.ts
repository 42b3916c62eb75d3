import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { ClientSocket } from '../../ports/client-socket.ts';
import type { HoldfastNode } from '../../runtime/node.ts';
import { Refusals } from '../../runtime/refusals.ts';
import type { Authenticator, Caller, RequestHeaders } from '../auth/auth.ts';
import { LargeRequests } from '../large-requests.ts';
import { type BodyReply, errorReply } from '../reply.ts';
import { Redirects } from './redirects.ts';
import { SlowReaders } from './slow-readers.ts';
import { type SessionDeps, SocketSession } from './socket-session.ts';
import { Topics } from './topics.ts';

export interface ClientSocketsDeps extends Omit<SessionDeps, 'topics' | 'node' | 'largeCommands' | 'slowReaders' | 'redirects'> {
  node: HoldfastNode;
  auth: Pick<Authenticator, 'stillValid'>;
  /** Whose credential a request carries; null: none, or not a valid one. */
  identify(headers: RequestHeaders, query: unknown): Promise<Caller | null>;
  /** Why it found nobody. */
  refusalOf(headers: RequestHeaders, query: unknown): Promise<HoldfastError>;
  /** Does the page that asks come from an origin that may? */
  trusts(headers: RequestHeaders): boolean;
}

export interface SocketRequestStart {
  /** Whom attempts without a valid key are counted for. */
  address: string;
  headers: RequestHeaders;
  query: Record<string, string>;
}

/** All WebSockets of clients: who may open one, what they share, and how they end. */
export class ClientSockets {
  readonly #deps: ClientSocketsDeps;
  readonly #topics: Topics;
  readonly #sessions = new Set<SocketSession>();
  readonly #attempts: Refusals;
  readonly #slowReaders = new SlowReaders();
  readonly #largeCommands = new LargeRequests({ limitBytes: limits.largeCommandsBytes, where: 'server' });
  #redirects: Redirects | null = null;
  #closing = false;

  constructor(deps: ClientSocketsDeps) {
    this.#deps = deps;
    this.#topics = new Topics(deps);
    this.#attempts = new Refusals(deps.clock);
  }

  /** Who opens a socket. Throws when nobody may, or not this one. */
  async admit({ address, headers, query }: SocketRequestStart): Promise<Caller> {
    const { node, identify, trusts } = this.#deps;
    if (this.#closing) throw new HoldfastError('SHUTTING_DOWN', {});
    const { ready, waitingFor } = node.readiness();
    if (!ready) throw new HoldfastError('NOT_READY', { waitingFor: waitingFor.join(', ') || 'its start', retryAfterMs: 1_000 });
    if (!trusts(headers)) throw new HoldfastError('FORBIDDEN', { needs: 'a page of this server, or of an allowed origin' });
    const caller = await identify(headers, query);
    // By key once it is proved, so that nobody can use up the share of somebody else's key.
    this.#countAttempt(caller === null ? address : `key ${caller.id}`);
    if (caller === null) throw await this.#deps.refusalOf(headers, query);
    if (this.#sessions.size >= limits.clientSockets) {
      throw new HoldfastError('LIMIT_REACHED', { what: 'WebSockets may be open on one server', limit: limits.clientSockets });
    }
    const own = [...this.#sessions].filter((session) => session.caller.id === caller.id).length;
    if (own >= limits.clientSocketsPerKey) {
      throw new HoldfastError('LIMIT_REACHED', { what: 'WebSockets may be open with one key', limit: limits.clientSocketsPerKey });
    }
    return caller;
  }

  /** Requests of a key over all its sockets are held to the rate that REST has, and counted with its attempts. */
  readonly #request: SessionDeps['request'] = async (call) => {
    this.#countAttempt(`key ${call.caller.id}`);
    return await this.#deps.request(call);
  };

  /** As often as REST allows, and counted as failed proofs at the link port are. */
  #countAttempt(asker: string): void {
    if (this.#attempts.count(asker) >= limits.apiRequestsPerMinute) throw new HoldfastError('RATE_LIMITED', { retryAfterMs: limits.proofFailureWindowMs });
    this.#attempts.note(asker);
  }

  /** The answer to who is not let in. */
  refusal(thrown: unknown, remote: string): BodyReply {
    const error = this.#deps.asOperatingError(thrown);
    this.#deps.refused(error, { who: null, what: 'a WebSocket', remote });
    return errorReply(error);
  }

  open(caller: Caller, socket: ClientSocket, remote: string): SocketSession {
    // Not earlier: a node that is being built cannot be listened to.
    this.#redirects ??= this.#follow();
    const deps = {
      ...this.#deps,
      topics: this.#topics,
      redirects: this.#redirects,
      largeCommands: this.#largeCommands,
      slowReaders: this.#slowReaders,
      request: this.#request,
    };
    const session = new SocketSession(deps, { caller, socket, remote }, () => {
      this.#sessions.delete(session);
      this.#count();
    });
    this.#sessions.add(session);
    this.#count();
    // The shutdown, or a revocation, may have come between the two.
    if (this.#closing) session.finish('shutting-down');
    this.#checkKey(session);
    return session;
  }

  #follow(): Redirects {
    this.#deps.node.freshness.onChange((location) => this.#freshnessChanged(location));
    return new Redirects(this.#deps.node, this.#topics);
  }

  /** Whoever is bound to modules of a location hears when their values stand still, and when they do no more. */
  #freshnessChanged(location: string): void {
    const { node } = this.#deps;
    const ageMs = node.freshness.ageMs(location);
    if (ageMs === null) return this.#sessions.forEach((session) => session.isFresh(location));
    for (const topic of this.#topics.all()) {
      if (topic.location === location) for (const member of topic.members) member.standsStill(location, ageMs);
    }
  }

  /** After a commit: sockets of keys that were revoked or changed their role end. */
  checkKeys(isTouched: (caller: Caller) => boolean): void {
    for (const session of this.#sessions) if (isTouched(session.caller)) this.#checkKey(session);
  }

  /** Takes no more commands, answers those under way, and closes. */
  close(): void {
    if (!this.#closing) this.#redirects?.drain();
    this.#closing = true;
    for (const session of this.#sessions) session.finish('shutting-down');
  }

  /** Commands that are still under way are answered with CANCELLED. */
  cancel(): void {
    this.close();
    for (const session of this.#sessions) session.end('shutting-down');
  }

  #checkKey(session: SocketSession): void {
    const { auth, log } = this.#deps;
    auth.stillValid(session.caller).then(
      (valid) => {
        if (!valid) session.end('key-revoked');
      },
      (error: unknown) => log.warn('client-socket-check-failed', { error: String(error) }),
    );
  }

  #count(): void {
    this.#deps.metrics.set('holdfast_client_sockets', {}, this.#sessions.size);
  }
}
