import { Canceller } from '../../foundation/cancel.ts';
import { Counts } from '../../foundation/counts.ts';
import { NumberedTable } from '../../foundation/numbered-table.ts';
import { HoldfastError } from '../../model/errors.ts';
import { recordedAs } from '../../model/events.ts';
import { limits } from '../../model/limits.ts';
import type { ClientSocket, ClientSocketHandler } from '../../ports/client-socket.ts';
import type { Clock, Timer } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Random } from '../../ports/random.ts';
import { cancellerOf } from '../../runtime/commands/commands-in-flight.ts';
import type { Debugging, DebugLine, HoldfastNode } from '../../runtime/node.ts';
import {
  isSocketCommand,
  PING,
  PONG,
  socketCommands,
  socketErrors,
  type RequestId,
  type SocketCommandName,
  type SocketErrorName,
  type SocketFrame,
  type SocketMeta,
  type SocketRequest,
} from '../../client-api/socket.ts';
import { hasRole, type Caller } from '../auth/auth.ts';
import { withDeadline } from '../deadline.ts';
import { LargeRequests } from '../large-requests.ts';
import type { AccessRefusal } from '../auth/access-refusals.ts';
import { errorNameOf, identified, type Identified, idOf, logKeyOf, logMetaOf, metaOf, read, readRequest, requestAnswer } from './socket-requests.ts';
import type { Redirects } from './redirects.ts';
import type { SlowReader, SlowReaders } from './slow-readers.ts';
import { textFrame } from '../../foundation/text-frame.ts';
import { TokenBucket } from '../token-bucket.ts';
import type { Topic, TopicMember, Topics } from './topics.ts';

export interface SessionDeps {
  node: Pick<HoldfastNode, 'desk' | 'freshness'>;
  clock: Clock;
  log: Log;
  random: Random;
  metrics: Metrics;
  topics: Topics;
  redirects: Pick<Redirects, 'welcome'>;
  commandsPerSecond: number;
  /** Of all sockets. */
  largeCommands: LargeRequests;
  slowReaders: SlowReaders;
  /** Carries a REST request out, with its authorisation and audit. Throws what REST would answer. */
  request(call: SocketCall): Promise<{ status: number; body: unknown }>;
  /** Told of everybody who is not let in, and of what was refused to those who are. */
  refused(error: HoldfastError, refusal: Omit<AccessRefusal, 'requestId'>): void;
  /** What is no operating error becomes one that tells a client nothing, and is logged. */
  asOperatingError(error: unknown): HoldfastError;
}

export interface SocketCall extends Omit<SocketRequest<'request'>, 'id'> {
  caller: Caller;
  remote: string;
  requestId: string;
  /** Aborts when the client is gone. */
  gone: AbortSignal;
}

export interface SessionStart {
  caller: Caller;
  socket: ClientSocket;
  /** Address of the client. */
  remote: string;
}

interface AuditOutcome extends ReturnType<typeof cancellerOf> {
  /** `ok`, or the code of the error. */
  result: string;
  requestId?: string;
  servedBy?: string;
}

/** The WebSocket protocol's numbers for why a server closes. */
const GOING_AWAY = 1001;
const POLICY = 1008;

/** One client on one WebSocket: its bindings, its commands under way, its log lines. Knows no socket library. */
export class SocketSession implements ClientSocketHandler, SlowReader, TopicMember {
  readonly caller: Caller;
  readonly #deps: SessionDeps;
  readonly #socket: ClientSocket;
  readonly #remote: string;
  readonly #onClosed: (session: SocketSession) => void;
  readonly #rate: TokenBucket;
  readonly #bindings = new Map<string, Topic>();
  /** Bindings whose newest value waits until the client has read what is on its way. */
  readonly #late = new Set<Topic>();
  /** Systems to which it is or was bound. */
  readonly #systems = new Set<string>();
  /** Locations of the modules to which it is bound. */
  readonly #locations = new Counts();
  /** Locations of which it knows that their values stand still. */
  readonly #stale = new Set<string>();
  /** Whose log lines it follows, as soon as whoever drives that has heard of it. */
  readonly #debugs = new Map<string, Promise<Debugging>>();
  readonly #pending = new NumberedTable<{ abort(): void }>();
  readonly #large: LargeRequests;
  #droppedLines = 0;
  #heardMs: number;
  #drainedMs: number;
  #pongDueMs: number;
  #beat: Timer;
  /** Why it ends as soon as everything is answered. */
  #ending: { code: number; reason: string } | null = null;
  #over = false;

  constructor(deps: SessionDeps, { caller, socket, remote }: SessionStart, onClosed: (session: SocketSession) => void) {
    this.caller = caller;
    this.#deps = deps;
    this.#socket = socket;
    this.#remote = remote;
    this.#onClosed = onClosed;
    this.#rate = new TokenBucket(deps.clock, { perSecond: deps.commandsPerSecond, burst: limits.clientSocketCommandBurst });
    this.#large = new LargeRequests({ limitBytes: limits.clientSocketLargeBytes, where: 'socket', within: deps.largeCommands });
    const nowMs = deps.clock.monotonicMs();
    this.#heardMs = nowMs;
    this.#drainedMs = nowMs;
    this.#pongDueMs = nowMs + limits.clientSocketPongMs;
    this.#beat = this.#nextBeat();
  }

  receive(text: string | null): void {
    this.heard();
    if (this.#over) return;
    if (text === PING) this.#say(PONG);
    else this.#command(text);
  }

  heard(): void {
    this.#heardMs = this.#deps.clock.monotonicMs();
  }

  /** Status of a client that reads too slowly is conflated: each variable waits once, with its newest value. */
  changed(topic: Topic): void {
    if (topic.frame === null || this.#over) return;
    if (this.#late.size > 0 || this.#socket.queuedBytes() > limits.clientSocketBehindBytes) this.#late.add(topic);
    else this.#socket.sendStatus(topic.frame);
  }

  drained(): void {
    this.#drainedMs = this.#deps.clock.monotonicMs();
    this.#deps.slowReaders.upToDate(this);
    for (const topic of this.#late) {
      if (this.#socket.queuedBytes() > limits.clientSocketBehindBytes) return;
      this.#late.delete(topic);
      if (topic.frame !== null) this.#socket.sendStatus(topic.frame);
    }
  }

  closed(): void {
    if (!this.#over) this.#cleanUp();
    this.#onClosed(this);
  }

  tell(frame: Uint8Array): void {
    if (!this.#over) this.#socket.send(frame);
  }

  standsStill(location: string, ageMs: number): void {
    if (this.#stale.has(location)) return;
    this.#stale.add(location);
    this.#send({ type: 'staleness', location, stale: true, age_ms: Math.round(ageMs) });
  }

  /** Values of a location are what its devices are again. */
  isFresh(location: string): void {
    if (this.#stale.delete(location)) this.#send({ type: 'staleness', location, stale: false, age_ms: 0 });
  }

  /** How its values stand goes with it: first where it is now, so that nothing passes for fresh in between. */
  moved({ location }: Topic, from: string | null): void {
    this.#boundAt(location);
    this.#unboundAt(from);
  }

  #boundAt(location: string | null): void {
    if (location === null) return;
    this.#locations.add(location);
    const ageMs = this.#deps.node.freshness.ageMs(location);
    if (ageMs !== null) this.standsStill(location, ageMs);
  }

  #unboundAt(location: string | null): void {
    if (location !== null && this.#locations.remove(location)) this.isFresh(location);
  }

  /** Takes no more commands, and closes when those under way are answered. */
  finish(reason: string, code: number = GOING_AWAY): void {
    this.#ending ??= { code, reason };
    this.#closeWhenAnswered();
  }

  /** Answers commands under way with CANCELLED, and closes. */
  end(reason: string, code: number = POLICY): void {
    this.finish(reason, code);
    for (const abort of this.#pending.values()) abort.abort();
  }

  // ── Commands ──────────────────────────────────────────────────────────────

  #command(text: string | null): void {
    let input: unknown = null;
    let id: RequestId | null = null;
    try {
      if (text === null) throw new HoldfastError('INPUT_INVALID', { field: 'frame', problem: 'is binary; send JSON text' });
      input = JSON.parse(text);
    } catch {
      return this.#refuse(null, new HoldfastError('INPUT_INVALID', { field: 'frame', problem: 'is not JSON text' }), 'parse-error');
    }
    try {
      id = idOf(input);
      if (this.#ending !== null) throw new HoldfastError('SHUTTING_DOWN', {});
      if (!this.#rate.take()) throw new HoldfastError('RATE_LIMITED', { retryAfterMs: 1_000 });
      this.#run(identified(input, id), input, text.length);
    } catch (error) {
      this.#fail(id, 'none', error);
    }
  }

  /** `length`: of the whole frame. */
  #run({ id, cmd }: Identified, input: unknown, length: number): void {
    if (!isSocketCommand(cmd)) throw new HoldfastError('UNKNOWN_TYPE', { type: cmd.slice(0, 100) });
    const { role } = socketCommands[cmd];
    try {
      if (!hasRole(this.caller, role)) throw new HoldfastError('FORBIDDEN', { needs: `the role ${role}` });
      switch (cmd) {
        case 'bind':
          return this.#bind(id, read(socketCommands.bind.request, input));
        case 'unbind':
          return this.#unbind(id, read(socketCommands.unbind.request, input));
        case 'exec':
          return void this.#exec(id, read(socketCommands.exec.request, input), length);
        case 'debug':
          return void this.#debug(id, read(socketCommands.debug.request, input), length);
        case 'ignore':
          return this.#ignore(id, read(socketCommands.ignore.request, input));
        case 'request':
          return void this.#request(readRequest(input), length);
      }
    } catch (error) {
      this.#refused(cmd, input, this.#fail(id, cmd, error));
    }
  }

  /** Who may not is on record, as over REST, and so is a command that was not understood. */
  #refused(cmd: SocketCommandName, input: unknown, error: HoldfastError): void {
    this.#deps.refused(error, { who: this.caller.id, what: `socket ${cmd}`, remote: this.#remote });
    // What is no valid parameter may be anything, such as a key in the wrong place.
    if (cmd !== 'exec') return;
    const asked = socketCommands[cmd].request.safeParse(input).data ?? null;
    this.#audit(cmd, asked, { result: error.code }, recordedAs('command', error.status));
  }

  #bind(id: RequestId, request: SocketRequest<'bind'>): void {
    const meta = metaOf(request);
    const key = JSON.stringify(meta);
    if (this.#bindings.has(key)) return this.#succeed('bind', { id, type: 'success', meta });
    if (this.#bindings.size >= limits.clientSocketBindings) {
      throw new HoldfastError('LIMIT_REACHED', { what: 'bindings may be open on one socket', limit: limits.clientSocketBindings });
    }
    const topic = this.#deps.topics.join(meta, this);
    this.#bindings.set(key, topic);
    // First of all: what stands still must not pass for fresh.
    this.#boundAt(topic.location);
    this.#succeed('bind', { id, type: 'success', meta });
    this.changed(topic);
    if (this.#systems.has(meta.sys)) return;
    this.#systems.add(meta.sys);
    const elsewhere = this.#deps.redirects.welcome(meta.sys);
    if (elsewhere !== null) this.tell(elsewhere);
  }

  #unbind(id: RequestId, request: SocketRequest<'unbind'>): void {
    const meta = metaOf(request);
    const key = JSON.stringify(meta);
    const topic = this.#bindings.get(key);
    if (topic !== undefined) {
      this.#bindings.delete(key);
      this.#late.delete(topic);
      this.#deps.topics.leave(topic, this);
      this.#unboundAt(topic.location);
    }
    this.#succeed('unbind', { id, type: 'success', meta });
  }

  /** Its number among those under way. Throws when there are too many, or too large ones. */
  #begin(command: { abort(): void }, length: number): number {
    if (this.#pending.size >= limits.clientSocketCommands) {
      throw new HoldfastError('LIMIT_REACHED', { what: 'commands may be under way on one socket', limit: limits.clientSocketCommands });
    }
    this.#large.begin(length);
    return this.#pending.add(command);
  }

  /** A command under way is over. 0: it never began. */
  #ended(number: number, length: number): void {
    if (this.#pending.take(number) !== undefined) this.#large.ended(length);
    this.#closeWhenAnswered();
  }

  async #exec(id: RequestId, request: SocketRequest<'exec'>, length: number): Promise<void> {
    const { node, random } = this.#deps;
    const { sys, mod, index, name, args } = request;
    const requestId = random.hex(8);
    const abort = new Canceller();
    let number = 0;
    try {
      number = this.#begin(abort, length);
      const { user, id: who } = this.caller;
      const call = { system: sys, module: mod, index, method: name, args, user, who, requestId, timeoutMs: limits.clientSocketExecMs };
      const { value, servedBy } = await node.desk.exec(call, abort.signal);
      this.#succeed('exec', { id, type: 'success', value, meta: metaOf(request), served_by: servedBy });
      this.#audit('exec', request, { result: 'ok', requestId, servedBy });
    } catch (error) {
      const known = this.#fail(id, 'exec', error);
      this.#audit('exec', request, { result: known.code, requestId, ...cancellerOf(known) }, recordedAs('command', known.status));
    } finally {
      this.#ended(number, length);
    }
  }

  async #request({ id, ...request }: SocketRequest<'request'>, length: number): Promise<void> {
    const abort = new AbortController();
    let number = 0;
    try {
      number = this.#begin(abort, length);
      const { caller } = this;
      const call = { ...request, caller, remote: this.#remote, requestId: this.#deps.random.hex(8), gone: abort.signal };
      const { status, body } = await this.#deps.request(call);
      this.#counted('request');
      this.#say(requestAnswer(id, status, body));
    } catch (error) {
      this.#fail(id, 'request', error);
    } finally {
      this.#ended(number, length);
    }
  }

  async #debug(id: RequestId, request: SocketRequest<'debug'>, length: number): Promise<void> {
    const meta = logMetaOf(request);
    const isKnown = this.#debugs.has(logKeyOf(request));
    const abort = new Canceller();
    let number = 0;
    try {
      number = this.#begin(abort, length);
      const { module } = await withDeadline(this.#deps.clock, limits.requestMs, abort.signal, () => this.#follow(request, meta));
      this.#succeed('debug', { id, type: 'success', mod_id: module, meta });
      if (!isKnown) this.#audit('debug', request, { result: 'ok' });
    } catch (error) {
      this.#fail(id, 'debug', error);
    } finally {
      this.#ended(number, length);
    }
  }

  /** Lines that come before the answer are left out: it comes first. */
  async #follow(request: SocketRequest<'debug'>, meta: SocketMeta): Promise<Debugging> {
    const key = logKeyOf(request);
    const known = this.#debugs.get(key);
    if (known !== undefined) return known;
    if (this.#debugs.size >= limits.clientSocketDebugs) {
      throw new HoldfastError('LIMIT_REACHED', { what: 'modules may be debugged on one socket', limit: limits.clientSocketDebugs });
    }
    let answered: Debugging | null = null;
    const tell = (line: DebugLine): void => {
      if (answered !== null && this.#debugs.get(key) === debugging) this.#line(answered, { ...line, meta });
    };
    const debugging = this.#deps.node.desk.debug({ system: request.sys, module: request.mod, index: request.index }, tell);
    this.#debugs.set(key, debugging);
    try {
      return (answered = await debugging);
    } catch (error) {
      if (this.#debugs.get(key) === debugging) this.#debugs.delete(key);
      throw error;
    }
  }

  #ignore(id: RequestId, request: SocketRequest<'ignore'>): void {
    const key = logKeyOf(request);
    stopFollowing(this.#debugs.get(key));
    this.#debugs.delete(key);
    this.#succeed('ignore', { id, type: 'success', meta: logMetaOf(request) });
  }

  /** Lines are the first to go when a client reads too slowly. */
  #line({ module, driver }: Debugging, { level, message, node, meta }: DebugLine & { meta: SocketMeta }): void {
    if (this.#socket.queuedBytes() > limits.clientSocketBehindBytes) {
      this.#droppedLines += 1;
      return;
    }
    const dropped = this.#droppedLines > 0 ? `(${this.#droppedLines} lines before this one were dropped) ` : '';
    this.#droppedLines = 0;
    this.#send({ type: 'debug', mod: module, klass: driver, level, msg: dropped + message, node, meta });
  }

  // ── Answers ───────────────────────────────────────────────────────────────

  #succeed(command: SocketCommandName, frame: SocketFrame): void {
    this.#counted(command);
    this.#send(frame);
  }

  #counted(command: SocketCommandName): void {
    this.#deps.metrics.add('holdfast_client_commands_total', { command, outcome: 'ok' });
  }

  #fail(id: RequestId | null, command: SocketCommandName | 'none', thrown: unknown): HoldfastError {
    const error = this.#deps.asOperatingError(thrown);
    this.#deps.metrics.add('holdfast_client_commands_total', { command, outcome: error.code });
    this.#refuse(id, error, errorNameOf(error));
    return error;
  }

  #refuse(id: RequestId | null, error: HoldfastError, name: SocketErrorName): void {
    const { code } = socketErrors[name];
    this.#send({ id, type: 'error', code, error_code: code, msg: error.message, error: error.toJSON() });
  }

  #send(frame: SocketFrame): void {
    this.#say(JSON.stringify(frame));
  }

  #say(text: string): void {
    if (this.#over) return;
    this.#socket.send(textFrame(text));
    const waiting = this.#socket.queuedBytes();
    if (waiting > limits.clientSocketQueueBytes) this.tooSlow();
    else if (waiting > limits.clientSocketBehindBytes) this.#deps.slowReaders.behind(this, waiting);
  }

  tooSlow(): void {
    this.#close(POLICY, 'reads-too-slowly');
  }

  #audit(what: SocketCommandName, asked: SocketRequest<'exec' | 'debug'> | null, outcome: AuditOutcome, word: 'command' | 'refused' = 'command'): void {
    const { id: who, user, role } = this.caller;
    const params = asked === null ? null : { sys: asked.sys, mod: asked.mod, index: asked.index, name: asked.name };
    const location = asked === null ? null : this.#deps.node.desk.locationOfNamed({ system: asked.sys, module: asked.mod, index: asked.index });
    this.#deps.log.info(word, { who, user, role, what: `socket ${what}`, params, location, ...outcome, remote: this.#remote });
  }

  // ── Life ──────────────────────────────────────────────────────────────────

  #nextBeat(): Timer {
    return this.#deps.clock.after(limits.clientSocketBeatMs, () => {
      const nowMs = this.#deps.clock.monotonicMs();
      this.#beat = this.#nextBeat();
      if (this.#socket.queuedBytes() === 0) this.#drainedMs = nowMs;
      const { expiresMs } = this.caller;
      if (expiresMs !== null && this.#deps.clock.wallMs() >= expiresMs) return this.end('token-expired');
      if (nowMs - this.#heardMs >= limits.clientSocketSilentMs) return this.#close(GOING_AWAY, 'silent');
      if (nowMs - this.#drainedMs >= limits.clientSocketStalledMs) return this.#close(POLICY, 'reads-nothing');
      this.#socket.ping();
      if (nowMs < this.#pongDueMs) return;
      this.#pongDueMs = nowMs + limits.clientSocketPongMs;
      this.#say(PONG);
    });
  }

  #closeWhenAnswered(): void {
    if (this.#ending === null || this.#pending.size > 0) return;
    // It is refused, and so answered too.
    this.#socket.receiveRest();
    this.#close(this.#ending.code, this.#ending.reason);
  }

  #close(code: number, reason: string): void {
    if (this.#over) return;
    this.#deps.log.info('client-socket-closing', { who: this.caller.id, remote: this.#remote, reason });
    this.#cleanUp();
    this.#socket.close(code, reason);
  }

  #cleanUp(): void {
    this.#over = true;
    this.#beat.cancel();
    this.#deps.slowReaders.upToDate(this);
    for (const topic of this.#bindings.values()) this.#deps.topics.leave(topic, this);
    for (const debugging of this.#debugs.values()) stopFollowing(debugging);
    for (const abort of this.#pending.values()) abort.abort();
    this.#bindings.clear();
    this.#debugs.clear();
    this.#late.clear();
  }
}

/** Also one that is still to begin. */
function stopFollowing(debugging: Promise<Debugging> | undefined): void {
  debugging?.then(({ stop }) => stop(), () => undefined);
}
