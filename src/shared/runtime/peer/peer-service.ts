import type { z } from 'zod';
import { TokenBucket } from '../../api/token-bucket.ts';
import type { CancelSignal } from '../../foundation/cancel.ts';
import { Counts } from '../../foundation/counts.ts';
import type { Json } from '../../foundation/json.ts';
import type { PostType, RequestKind } from '../../link/frames.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Clock, Timer } from '../../ports/clock.ts';
import type { StatusReport } from '../../ports/device-link.ts';
import type { Log } from '../../ports/log.ts';
import type { CommandDesk } from '../commands/command-desk.ts';
import { cancellerOf } from '../commands/commands-in-flight.ts';
import type { Target } from '../documents/directory.ts';
import type { Freshness } from '../status/freshness.ts';
import type { ModuleLine, ModuleLines } from '../commands/module-lines.ts';
import { execBody, expireBody, logBody, modulesBody, readBody, reloadBody, targetBody, triggerBody, wantedBody, watchedBody } from './peer-bodies.ts';
import { codeOf, wordFor } from './peer-record.ts';
import type { ModulesBy, ReloadedBy } from '../commands/proxy.ts';
import type { PeerSubscriptions } from './peer-subscriptions.ts';
import type { StatusBoard } from '../status/status-board.ts';

const moduleKinds = [
  'exec', 'relay', 'status', 'functions', 'reload', 'wanted', 'modules', 'expire', 'trigger', 'watch', 'unwatch', 'debug', 'ignore',
] as const satisfies readonly RequestKind[];
export type ModuleKind = (typeof moduleKinds)[number];
export const isModuleKind = (kind: RequestKind): kind is ModuleKind => (moduleKinds as readonly string[]).includes(kind);

export interface PeerServiceOptions {
  /** Of the link. */
  location: string;
  /** Id of the node at the other end. */
  peer: string;
  /** The master passes on what is for other locations; nobody passes on what was passed on. */
  passesOn: boolean;
  clock: Clock;
  log: Log;
  desk: CommandDesk;
  board: StatusBoard;
  lines: ModuleLines;
  /** Of what the peer may watch. Absent: it watches nothing here. */
  freshness?: Pick<Freshness, 'ageMs' | 'onChange'>;
  post(type: PostType, body: Json, options?: { conflateKey?: string }): void;
}

interface Context {
  signal: CancelSignal;
  deadlineMs: number;
}

/**
 * Answers what the node at the other end of a link asks about modules. Two hops at most: what concerns the location of
 * the link is never sent back over it, and an edge passes nothing on.
 */
export class PeerService {
  readonly #options: PeerServiceOptions;
  /** What the peer wants to be told, with the way to stop. */
  readonly #told = new Map<string, () => void>();
  /** Locations of the modules that it watches. */
  readonly #watched = new Counts();

  constructor(options: PeerServiceOptions) {
    this.#options = options;
    options.freshness?.onChange((location) => {
      if (this.#watched.has(location)) this.#tellStaleness(location);
    });
  }

  async request(kind: ModuleKind, body: Json, context: Context): Promise<Json> {
    const { board, desk, freshness } = this.#options;
    switch (kind) {
      case 'exec':
        return this.#exec(body, context);
      case 'relay':
        return this.#relay(body, context);
      case 'status': {
        const { location, module } = this.#target(body);
        const { values, epoch } = board.module(location, module);
        return { values, epoch: epoch === null ? null : { ...epoch }, ageMs: freshness?.ageMs(location) ?? null };
      }
      case 'functions': {
        const target = this.#target(body);
        const functions = await desk.functionsOf(target, context, this.#mayForward(target.location));
        return Object.fromEntries(Object.entries(functions).map(([name, { arity, params, order }]) => [name, { arity, params, order }]));
      }
      case 'reload':
        return this.#reload(body, context);
      case 'wanted':
        return this.#wanted(body);
      case 'modules':
        return this.#modules(body, context);
      case 'expire':
        return this.#expire(body, context);
      case 'trigger': {
        const call = readBody(triggerBody, body);
        if (call.location !== this.#options.location) throw new HoldfastError('FORBIDDEN', { needs: `a trigger of ${this.#options.location}` });
        return desk.serveTrigger(call, context);
      }
      case 'watch':
        return this.#tell('watch', body, (target) => this.#watch(target));
      case 'debug':
        return this.#debug(body);
      case 'unwatch':
        return this.#stopTelling('watch', readBody(targetBody, body));
      case 'ignore':
        return this.#stopTelling('debug', readBody(targetBody, body));
    }
  }

  /** The link carries messages, maybe of the same session as before: what was said of other locations may have been overtaken by its cut. */
  opened(): void {
    for (const location of this.#watched.keys()) this.#tellStaleness(location);
  }

  /** The session is over: the peer asks again in the next one. */
  ended(): void {
    for (const stop of this.#told.values()) stop();
    this.#told.clear();
  }

  /** A method of a module of the link's location: here, or nowhere. */
  async #exec(body: Json, { signal, deadlineMs }: Context): Promise<Json> {
    const { desk, location, peer } = this.#options;
    const call = readBody(execBody, body);
    if (call.location !== location) throw new HoldfastError('FORBIDDEN', { needs: `a command for ${location}` });
    const renamed = (requestId: string): void => void (call.requestId = requestId);
    try {
      const { value, servedBy } = await desk.serve(call, { via: peer, signal, deadlineMs, forward: false, renamed });
      this.#audit('command-served', 'exec', call, { result: 'ok', servedBy });
      return { value, servedBy };
    } catch (error) {
      this.#audit('command-served', 'exec', call, { result: codeOf(error), servedBy: null, ...cancellerOf(error) });
      throw error;
    }
  }

  /** An edge asks for a user of its own. Where it goes is decided by the documents of the master. */
  async #relay(body: Json, { signal, deadlineMs }: Context): Promise<Json> {
    const { desk, location, passesOn, peer } = this.#options;
    if (!passesOn) throw new HoldfastError('UNKNOWN_TYPE', { type: 'relay' });
    const asked = readBody(execBody, body);
    if (asked.entry !== location) throw new HoldfastError('FORBIDDEN', { needs: `a command of a user of ${location}` });
    const call = { ...asked, ...desk.target(asked.module) };
    const renamed = (requestId: string): void => void (call.requestId = requestId);
    try {
      const answer = await desk.serve(call, { via: peer, signal, deadlineMs, forward: this.#mayForward(call.location), renamed });
      this.#audit('command', 'relay', call, { result: 'ok', servedBy: answer.servedBy });
      return { value: answer.value, servedBy: answer.servedBy };
    } catch (error) {
      this.#audit(wordFor('command', error), 'relay', call, { result: codeOf(error), servedBy: null, ...cancellerOf(error) });
      throw error;
    }
  }

  /** An edge asks for a user of its own, wherever the modules are; of the master, for modules of the link's location only. */
  async #reload(body: Json, { signal, deadlineMs }: Context): Promise<Json> {
    const { desk, passesOn } = this.#options;
    const call = readBody(reloadBody, body);
    this.#requireOwn(call.entry, call.location);
    // Who has an edge must not have code run at the master, or at other edges.
    if (passesOn && call.live?.edit != null) throw new HoldfastError('FORBIDDEN', { needs: 'the master itself: no code is taken from an edge' });
    const audited = { ...call, module: call.module ?? call.driver, method: call.live == null ? 'reload' : 'revert' };
    const live = call.live ?? null;
    const serve = (): Promise<ReloadedBy> => desk.drivers.serve({ ...call, live, deadlineMs }, signal, this.#mayForward(call.location));
    const { modules, servedBy } = await this.#audited('reload', audited, serve);
    return { modules: modules.map(({ module, problem, pausedMs }) => ({ module, problem, pausedMs })), servedBy };
  }

  /** An edge asks for a user of its own that modules of its location run, or stop. */
  async #wanted(body: Json): Promise<Json> {
    const { desk, location, passesOn } = this.#options;
    if (!passesOn) throw new HoldfastError('UNKNOWN_TYPE', { type: 'wanted' });
    const request = readBody(wantedBody, body);
    this.#requireOwn(request.entry, location);
    const audited = { ...request, location, module: request.id, method: request.running ? 'start' : 'stop' };
    const serve = async () => ({ ...(await desk.modules.serveWanted(request, location)), servedBy: null });
    const { changed, modules } = await this.#audited('wanted', audited, serve);
    return { changed, modules };
  }

  async #modules(body: Json, { signal, deadlineMs }: Context): Promise<Json> {
    const { desk, location } = this.#options;
    const call = readBody(modulesBody, body);
    this.#requireOwn(call.entry, call.location);
    // Of other locations an edge unloads single modules, as it runs methods of them; more is not asked for there.
    const isForeign = call.location !== location && (call.action !== 'unload' || call.modules.length > 1);
    if (isForeign) throw new HoldfastError('FORBIDDEN', { needs: `modules of ${location}` });
    const audited = { ...call, module: call.modules.length === 1 ? (call.modules[0] ?? '') : `${call.modules.length} modules`, method: call.action };
    const serve = (): Promise<ModulesBy> => desk.modules.serve({ ...call, deadlineMs }, signal, this.#mayForward(call.location));
    const { modules, servedBy } = await this.#audited('modules', audited, serve);
    return { modules, servedBy };
  }

  async #expire(body: Json, { signal, deadlineMs }: Context): Promise<Json> {
    const { desk } = this.#options;
    const call = readBody(expireBody, body);
    this.#requireOwn(call.entry, call.location);
    const audited = { ...call, module: call.system, method: 'expire' };
    const serve = async () => ({ nodes: await desk.modules.serveExpire({ ...call, deadlineMs }, signal, this.#mayForward(call.location)), servedBy: null });
    return (await this.#audited('expire', audited, serve)).nodes;
  }

  /** An edge asks for users of its own; of an edge the master asks what concerns its location. */
  #requireOwn(entry: string, of: string): void {
    const { location, passesOn } = this.#options;
    if (passesOn && entry !== location) throw new HoldfastError('FORBIDDEN', { needs: `a request for a user of ${location}` });
    if (!passesOn && of !== location) throw new HoldfastError('FORBIDDEN', { needs: `a request about ${location}` });
  }

  async #audited<T extends { servedBy: string | null }>(what: string, call: Audited, serve: () => Promise<T>): Promise<T> {
    try {
      const answer = await serve();
      this.#audit('audit', what, call, { result: 'ok', servedBy: answer.servedBy });
      return answer;
    } catch (error) {
      this.#audit(wordFor('audit', error), what, call, { result: codeOf(error), servedBy: null });
      throw error;
    }
  }

  /**
   * What came over the link is on record here too. `command-served` is a line of the log and no event: the server that the
   * command passed before has one, and a second costs as much as a tenth of the command.
   */
  #audit(word: 'audit' | 'command' | 'command-served' | 'refused', what: string, call: Audited, outcome: Outcome): void {
    const { location, module, method, user, who, requestId } = call;
    this.#options.log.info(word, { what, who, user, via: this.#options.peer, location, module, method, ...outcome, requestId });
  }

  /** An edge has a say in its own location; at the master the documents say where a module belongs. */
  #target(body: Json): Target {
    const { desk, location, passesOn } = this.#options;
    const asked = readBody(targetBody, body);
    if (passesOn) return desk.target(asked.module);
    if (asked.location !== location) throw new HoldfastError('FORBIDDEN', { needs: `a module of ${location}` });
    return asked;
  }

  #mayForward(location: string): boolean {
    return this.#options.passesOn && location !== this.#options.location;
  }

  #tell(topic: string, body: Json, begin: (target: Target) => () => void): null {
    const target = this.#target(body);
    // As it was asked for: who does not know yet that the module has moved says so again when it does.
    const key = keyOf(topic, readBody(targetBody, body));
    if (this.#told.has(key)) return null;
    if (this.#told.size >= limits.linkSubscriptions) {
      throw new HoldfastError('LIMIT_REACHED', { what: 'modules may be followed over one link', limit: limits.linkSubscriptions });
    }
    this.#told.set(key, begin(target));
    return null;
  }

  #stopTelling(topic: string, target: Target): null {
    const key = keyOf(topic, target);
    this.#told.get(key)?.();
    this.#told.delete(key);
    return null;
  }

  /** What is known, before the answer, and each change. First of all: what stands still must not pass for fresh. */
  #watch({ location, module }: Target): () => void {
    const { board, freshness, post } = this.#options;
    const isFirst = this.#watched.add(location);
    if (isFirst || (freshness?.ageMs(location) ?? null) !== null) this.#tellStaleness(location);
    const send = ({ key, value, revision, epoch }: StatusReport): void =>
      post(
        'watched',
        { location, module, key, value, revision: [...revision], epoch: { ...epoch } },
        { conflateKey: `watched\n${location}\n${module}\n${key}` },
      );
    for (const value of board.valuesOf(location, module)) send(value);
    const stop = board.watch(location, module, send);
    return () => {
      stop();
      this.#watched.remove(location);
    };
  }

  #tellStaleness(location: string): void {
    const { freshness, post } = this.#options;
    if (freshness !== undefined) post('staleness', { location, ageMs: freshness.ageMs(location) }, { conflateKey: `staleness\n${location}` });
  }

  /** Answered once whoever drives the module has heard of it, for who asks counts on every line from then on. */
  async #debug(body: Json): Promise<null> {
    const { clock, lines, post } = this.#options;
    let heard = Promise.resolve();
    this.#tell('debug', body, (target) => {
      const sender = new LineSender(clock, (line) => post('log', { ...line }));
      const { placed, stop } = lines.listen(target, (line) => sender.send(line), this.#mayForward(target.location));
      heard = placed;
      return () => {
        stop();
        sender.close();
      };
    });
    await heard;
    return null;
  }
}

interface Outcome extends ReturnType<typeof cancellerOf> {
  result: string;
  servedBy: string | null;
}

type Audited = Omit<z.output<typeof execBody>, 'args' | 'entry'>;

const keyOf = (topic: string, { location, module }: Target): string => `${topic}\n${location}\n${module}`;

/** Lines of one module on their way over a link: so many a second, and then how many were left out. */
class LineSender {
  readonly #clock: Clock;
  readonly #post: (line: ModuleLine) => void;
  readonly #rate: TokenBucket;
  #dropped = 0;
  #notice: Timer | null = null;

  constructor(clock: Clock, post: (line: ModuleLine) => void) {
    this.#clock = clock;
    this.#post = post;
    this.#rate = new TokenBucket(clock, { perSecond: limits.linkLinesPerSecond, burst: limits.linkLinesPerSecond });
  }

  send(line: ModuleLine): void {
    if (this.#notice === null && this.#rate.take()) return this.#post(line);
    this.#dropped += 1;
    this.#notice ??= this.#clock.after(limits.linkLinesNoticeMs, () => {
      this.#post({ ...line, level: 'warn', message: `${this.#dropped} lines dropped` });
      this.#dropped = 0;
      this.#notice = null;
    });
  }

  close(): void {
    this.#notice?.cancel();
  }
}

/** A log line that was asked for; of anything else nothing is heard. `node`: who said it, when only one can have. */
export function hearLine(body: Json, { lines, subscriptions, node }: { lines: ModuleLines; subscriptions: PeerSubscriptions; node?: string }): void {
  const line = readBody(logBody, body);
  if (subscriptions.holds('debug', line)) lines.heard(node === undefined ? line : { ...line, node });
}

/** A status value of another location that was asked for. */
export function hearWatched(body: Json, { board, subscriptions }: { board: StatusBoard; subscriptions: PeerSubscriptions }): void {
  const value = readBody(watchedBody, body);
  if (subscriptions.holds('watch', value)) board.hear(value);
}
