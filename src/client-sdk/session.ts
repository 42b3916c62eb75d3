import { backoffMs } from '../shared/foundation/backoff.ts';
import type { Json } from '../shared/foundation/json.ts';
import { routes } from '../shared/client-api/routes.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import { type Client, createClientOver } from './client.ts';
import { type CommandOptions, Commands } from './commands.ts';
import { Connection } from './connection.ts';
import { type Frame, metaOf, type RedirectFrame, type Target } from './frames.ts';
import { MemberList } from './member-list.ts';
import { Redirects } from './redirects.ts';
import type { Credential, Platform, TextStorage } from './transport.ts';
import { type BindListener, Variables } from './variables.ts';

export interface SessionOptions extends Credential {
  /** Servers to begin with; the others are learned from them. */
  origins: readonly string[];
  /** Where the member list is kept between two runs. */
  storage?: TextStorage;
}

export interface SessionState {
  /** Of the server that serves this session; null: none at the moment. */
  origin: string | null;
  /** null: none, or the server has not said so yet. */
  servedBy: 'edge' | 'master' | null;
  /** Unix milliseconds of the last change of `origin`. */
  sinceMs: number;
  /** Values may be older than what the devices are: there is no server, not everything is bound at it yet, or it does not hear who drives the devices. */
  stale: boolean;
  /** Unix milliseconds until when values were known to be what the devices are. null: they still are. */
  staleSinceMs: number | null;
  /** Why the last attempt to reach a server failed, for people; null while one serves. */
  problem: string | null;
}

/** A live connection to whichever server can serve. All its methods may be called at any time, connected or not. */
export interface Session {
  readonly state: SessionState;
  /** Calls back now and on each change. Returns the way to stop. */
  onState(listener: (state: SessionState) => void): () => void;
  /** The value now and on each change. Returns the way to stop. */
  bind(variable: Target, listener: BindListener | BindListener['value']): () => void;
  /** Runs a method. Rejects with a HoldfastError; its fact `fate` says whether the command may have run. */
  exec(method: Target, args?: readonly Json[], options?: CommandOptions): Promise<Json>;
  /** REST at the server of the moment. */
  rest(): Client;
  close(): void;
}

const redial = { firstMs: limits.sdkRedialMinMs, maxMs: limits.sdkRedialMaxMs, factor: 2, jitter: 1 };

/** Throws INPUT_INVALID. Connects in the background: `state` says how far it is. */
export async function openSession(platform: Platform, options: SessionOptions): Promise<Session> {
  const stored = await options.storage?.load().catch(() => null);
  const session = new LiveSession(platform, options, new MemberList(options.origins, stored ?? null));
  session.dial();
  return session;
}

class LiveSession implements Session {
  readonly #platform: Platform;
  readonly #options: SessionOptions;
  readonly #members: MemberList;
  readonly #variables = new Variables();
  readonly #commands: Commands;
  readonly #redirects = new Redirects();
  /** Systems of its commands; what a session without a binding is about. */
  readonly #commanded = new Set<string>();
  readonly #listeners = new Set<(state: SessionState) => void>();
  readonly #closing = new AbortController();
  #state: SessionState;
  /** Systems of which its server is being asked. */
  readonly #unlearned = new Set<string>();
  /** Moves are at their limit, and one is wanted: looked at again when there may be another. */
  #isHeldBack = false;
  #connections = 0;
  /** Serves. */
  #active: Connection | null = null;
  /** On its way to serve. */
  #next: Connection | null = null;
  /** Served before, and still has commands to answer. */
  readonly #leaving = new Set<Connection>();
  /** Servers to try before the next pause. */
  #candidates: string[] = [];
  #rounds = 0;
  readonly #timers = new Set<() => void>();
  #saved = '';

  constructor(platform: Platform, options: SessionOptions, members: MemberList) {
    this.#platform = platform;
    this.#options = options;
    this.#members = members;
    this.#commands = new Commands(platform.http.after, { active: () => this.#active, isMoving: () => this.#next !== null });
    this.#state = { origin: null, servedBy: null, sinceMs: platform.nowMs(), stale: true, staleSinceMs: platform.nowMs(), problem: null };
  }

  get state(): SessionState {
    return this.#state;
  }

  onState(listener: (state: SessionState) => void): () => void {
    this.#listeners.add(listener);
    listener(this.#state);
    return () => void this.#listeners.delete(listener);
  }

  bind(variable: Target, listener: BindListener | BindListener['value']): () => void {
    const own = typeof listener === 'function' ? { value: listener } : { ...listener };
    const meta = metaOf(variable);
    const isNew = !this.#variables.systems().has(meta.sys);
    if (this.#variables.add(meta, own) && this.#active !== null) this.#bindAt(this.#active, meta);
    if (isNew) void this.#learnOf(meta.sys);
    this.#changed();
    return () => {
      if (!this.#variables.remove(meta, own)) return;
      for (const connection of this.#open()) connection.request('unbind', meta, () => undefined);
      this.#changed();
    };
  }

  exec(method: Target, args: readonly Json[] = [], options: CommandOptions = {}): Promise<Json> {
    this.#isAbout(method.system);
    const answer = this.#commands.run({ meta: metaOf(method), args }, options);
    // A server that is left stays until its last answer.
    const answered = (): void => this.#changed();
    answer.then(answered, answered);
    return answer;
  }

  rest(): Client {
    const [first = ''] = this.#members.candidates(this.#systems(), this.#platform.draw);
    return this.#restAt(this.#active?.origin ?? first);
  }

  close(): void {
    this.#closing.abort();
    for (const stop of this.#timers) stop();
    this.#commands.cancel();
    for (const connection of this.#open()) connection.close();
    this.#platform.http.close();
  }

  /** Tries one server after the other, then pauses. */
  dial(): void {
    if (this.#closing.signal.aborted || this.#next !== null) return;
    const origin = this.#candidates.shift();
    if (origin !== undefined) return this.#connect(origin);
    const pauseMs = this.#rounds === 0 ? 0 : backoffMs(redial, this.#rounds - 1, this.#platform.draw());
    this.#rounds += 1;
    this.#later(pauseMs, () => {
      this.#candidates = this.#members.candidates(this.#systems(), this.#platform.draw);
      this.dial();
    });
  }

  // ── Connections ───────────────────────────────────────────────────────────

  #connect(origin: string): void {
    this.#connections += 1;
    const connection: Connection = new Connection(
      { number: this.#connections, origin, credential: this.#options, platform: this.#platform },
      {
        ready: () => this.#adopt(connection),
        told: (frame) => this.#told(connection, frame),
        lost: (problem) => this.#lost(connection, problem),
      },
    );
    this.#next = connection;
  }

  /** From now on it serves. What served before stays until everything is bound here and its commands are answered. */
  #adopt(connection: Connection): void {
    const before = this.#active;
    this.#active = connection;
    this.#next = null;
    this.#candidates = [];
    this.#rounds = 0;
    this.#members.worked(connection.origin);
    if (before !== null) {
      this.#redirects.moved(this.#platform.nowMs());
      this.#leaving.add(before);
      this.#later(limits.sdkLeaveMs, () => before.close());
    }
    for (const meta of this.#variables.all()) this.#bindAt(connection, meta);
    this.#later(limits.sdkForgetMs, () => this.#variables.settle(connection.number));
    this.#commands.flush();
    this.#changed(null);
    void this.#learn(connection.origin);
  }

  #lost(connection: Connection, problem: string): void {
    this.#leaving.delete(connection);
    if (connection === this.#next) this.#next = null;
    else if (connection === this.#active) this.#active = null;
    else return;
    if (this.#closing.signal.aborted) return;
    // A move that failed: the server that pointed there serves on.
    if (this.#active !== null) return this.#commands.flush();
    this.#changed(`${connection.origin}: ${problem}`, connection.heardMs);
    void this.#learn(connection.origin);
    this.dial();
  }

  #bindAt(connection: Connection, meta: ReturnType<typeof metaOf>): void {
    connection.request('bind', meta, (outcome) => {
      const error = 'error' in outcome ? outcome.error : null;
      // The connection ends: the next one is asked.
      if (error?.code === 'LINK_LOST' || error?.code === 'SHUTTING_DOWN') return;
      this.#variables.answer(connection.number, meta, error);
      this.#changed();
    });
  }

  #told(connection: Connection, frame: Exclude<Frame, { type: 'success' | 'error' }>): void {
    if (frame.type === 'notify') return this.#variables.report(connection.number, frame);
    if (frame.type === 'staleness') return this.#changed();
    if (connection === this.#active && this.#redirects.hear(frame)) void this.#follow(connection, frame);
  }

  /** Only to members. One that is not known yet may be new: the server that serves is asked. */
  async #follow(connection: Connection, { origin }: RedirectFrame): Promise<void> {
    if (!this.#members.includes(origin)) await this.#learn(connection.origin);
    if (connection === this.#active) this.#go(connection);
  }

  /** To where its systems are served, as far as that was told. */
  #go(connection: Connection): void {
    const destination = this.#redirects.destination(connection.origin, this.#variables.systems());
    if (destination === null || !this.#members.includes(destination)) return;
    const pauseMs = this.#redirects.pauseMs(this.#platform.nowMs());
    if (pauseMs > 0) return this.#goLater(pauseMs);
    if (this.#next?.origin === destination) return;
    const overtaken = this.#next;
    this.#next = null;
    overtaken?.close();
    this.#connect(destination);
  }

  #goLater(pauseMs: number): void {
    if (this.#isHeldBack) return;
    this.#isHeldBack = true;
    this.#later(pauseMs, () => {
      this.#isHeldBack = false;
      if (this.#active !== null) this.#go(this.#active);
    });
  }

  #later(ms: number, callback: () => void): void {
    const stop = this.#platform.http.after(ms, () => {
      this.#timers.delete(stop);
      callback();
    });
    this.#timers.add(stop);
  }

  #open(): Connection[] {
    return [this.#active, this.#next, ...this.#leaving].filter((connection) => connection !== null);
  }

  // ── What is known ─────────────────────────────────────────────────────────

  /** What it is bound to; without a binding what it commanded. */
  #systems(): ReadonlySet<string> {
    const bound = this.#variables.systems();
    return bound.size > 0 ? bound : this.#commanded;
  }

  #isAbout(system: string): void {
    if (this.#commanded.has(system) || this.#commanded.size >= limits.sdkCommandedSystems) return;
    this.#commanded.add(system);
    if (this.#variables.systems().size === 0) void this.#learnOf(system);
  }

  /** Of a system that is new, once, and one after the other; a server that serves later is asked of all. */
  async #learnOf(system: string): Promise<void> {
    this.#unlearned.add(system);
    if (this.#unlearned.size > 1) return;
    for (const each of this.#unlearned) {
      if (this.#active !== null) await this.#learn(this.#active.origin, [each]);
      this.#unlearned.delete(each);
    }
  }

  /** Asks a server where the systems of this session are served; of one that let nobody in, it learns why. */
  async #learn(origin: string, systems: Iterable<string> = this.#systems()): Promise<void> {
    const client = this.#restAt(origin);
    try {
      for (const system of systems) {
        const [member] = await client.call(routes.members, { query: { system } }, { timeoutMs: limits.sdkConnectMs });
        if (member !== undefined) this.#members.learn(origin, system, member);
      }
      this.#changed();
      await this.#save();
    } catch (error) {
      const isAnswer = error instanceof HoldfastError && error.code !== 'UNREACHABLE';
      if (isAnswer && this.#active === null) this.#changed(`${origin}: ${error.message}`);
    }
  }

  async #save(): Promise<void> {
    const text = this.#members.toText();
    if (text === this.#saved) return;
    this.#saved = text;
    // A list that cannot be kept is asked for again at the next start.
    await this.#options.storage?.save(text).catch(() => undefined);
  }

  #restAt(origin: string): Client {
    const { apiKey, token } = this.#options;
    return createClientOver(this.#platform.http, {
      origin,
      apiKey: apiKey ?? null,
      token,
      signal: this.#closing.signal,
      follows: (other) => this.#members.includes(other),
    });
  }

  /**
   * Works out the state anew, tells it when it is another, and lets go of connections that are done. `freshMs`: until when
   * values were what the devices are, should they be stale now.
   */
  #changed(problem: string | null = this.#state.problem, freshMs = this.#platform.nowMs()): void {
    const active = this.#active;
    const isComplete = active !== null && this.#variables.isComplete(active.number);
    if (isComplete) for (const connection of this.#leaving) if (connection.pending === 0) connection.close();
    const standsSinceMs = active?.staleSinceMs ?? null;
    const isStale = !isComplete || standsSinceMs !== null;
    const before = this.#state;
    const origin = active?.origin ?? null;
    const after: SessionState = {
      origin,
      servedBy: origin === null ? null : this.#members.roleOf(origin),
      sinceMs: origin === before.origin ? before.sinceMs : this.#platform.nowMs(),
      stale: isStale,
      staleSinceMs: isStale ? (before.staleSinceMs ?? standsSinceMs ?? freshMs) : null,
      problem,
    };
    if (JSON.stringify(after) === JSON.stringify(before)) return;
    this.#state = after;
    for (const listener of Array.from(this.#listeners)) listener(after);
  }
}
