import { Canceller, type CancelSignal } from '../../foundation/cancel.ts';
import { type Json, jsonEqual } from '../../foundation/json.ts';
import type { Revision } from '../../model/control.ts';
import { HoldfastError } from '../../model/errors.ts';
import { MASTER_LOCATION } from '../../model/ids.ts';
import { limits } from '../../model/limits.ts';
import { partsOf } from '../../model/trigger.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Random } from '../../ports/random.ts';
import type { ModuleFunction } from '../../ports/device-link.ts';
import type { Directory, Target } from '../documents/directory.ts';
import type {
  AskedBy, Debugging, DebugLine, Desk, ExecAnswer, ExecRequest, ModuleCommand, ModuleName, ModuleStatus, PlaceListener, RequestView, StatusChange,
  ValueListener,
} from '../node.ts';
import { DriverReload } from '../driver-code/driver-reload.ts';
import { CommandsInFlight } from './commands-in-flight.ts';
import { ModuleControl } from './module-control.ts';
import { ModulesUnderWay } from './modules-under-way.ts';
import type { ModuleLines } from './module-lines.ts';
import { readAnswer, statusAnswer } from '../peer/peer-bodies.ts';
import type { PeerSubscriptions } from '../peer/peer-subscriptions.ts';
import { Proxy, type ProxyAnswer, type ProxyCall, type ProxyOptions, type TriggerCall } from './proxy.ts';
import { SharedAnswers } from './shared-answers.ts';
import type { StatusBoard, StatusListener } from '../status/status-board.ts';

/** A command as the node at the other end of a link sent it. */
type PeerCall = Omit<ProxyCall, 'at' | 'deadlineMs'>;

/** How a command came, and how far it may go. */
interface Passage {
  /** The node that passed it on; null: a client of this node asked. */
  via: string | null;
  signal: CancelSignal;
  /** false: it is run here or nowhere. */
  forward: boolean;
  renamed?: ExecRequest['renamed'];
}

/** Modules of other locations, of which a node is told only what it asks for. */
export interface Elsewhere {
  has(location: string): boolean;
  subscriptions: PeerSubscriptions;
  request(kind: 'status' | 'wanted', body: Json, options: { signal: CancelSignal; timeoutMs: number }): Promise<Json>;
}

export interface CommandDeskOptions extends ProxyOptions {
  random: Random;
  metrics: Metrics;
  directory: Directory;
  board: StatusBoard;
  lines: ModuleLines;
  /** Absent: this node is told everything. */
  elsewhere?: Elsewhere;
}

/** Takes commands and questions about modules, from clients of this node and from its peers, and answers them. */
export class CommandDesk implements Desk {
  readonly #options: CommandDeskOptions;
  readonly #proxy: Proxy;
  /** Status of modules elsewhere: all of it may be megabytes, at both ends of the link. */
  readonly #asked = new SharedAnswers<Json>();
  readonly inFlight: CommandsInFlight;
  readonly drivers: DriverReload;
  readonly modules: ModuleControl;
  readonly underWay: ModulesUnderWay;

  constructor(options: CommandDeskOptions) {
    this.#options = options;
    this.#proxy = new Proxy(options);
    this.inFlight = new CommandsInFlight(options.clock);
    this.drivers = new DriverReload({ ...options, proxy: this.#proxy });
    this.modules = new ModuleControl({ ...options, proxy: this.#proxy, askMaster: options.elsewhere?.request });
    this.underWay = new ModulesUnderWay(options);
  }

  /** Runs a method wherever its module is controlled. Throws NOT_FOUND, NO_HOLDER, CONTROL_CHANGING, or what the driver said. */
  async exec(request: ExecRequest, signal: CancelSignal): Promise<ExecAnswer> {
    return this.#run(this.#resolve(request), request, signal);
  }

  /** The same for a module that is named by its id. */
  async execModule({ id, ...command }: ModuleCommand, signal: CancelSignal): Promise<ExecAnswer> {
    return this.#run(this.#options.directory.module(id), command, signal);
  }

  /** Throws NOT_FOUND. */
  locationOf(id: string): string {
    return this.#options.directory.module(id).location;
  }

  locationOfNamed(name: ModuleName): string | null {
    return this.#tryResolve(name)?.location ?? this.#options.directory.locationOfSystem(name.system);
  }

  knownStatus(id: string): ModuleStatus {
    return this.#known(this.#options.directory.module(id));
  }

  /** What the board has, or the node that is told of this module. */
  async moduleStatus(id: string): Promise<ModuleStatus> {
    return this.#readStatus(this.#options.directory.module(id));
  }

  #run(target: Target, request: Omit<ModuleCommand, 'id'>, signal: CancelSignal): Promise<ExecAnswer> {
    const { clock, nodeId, random } = this.#options;
    const call: ProxyCall = {
      location: target.location,
      module: target.module,
      method: request.method,
      args: request.args,
      user: request.user,
      who: request.who,
      entry: nodeId,
      requestId: request.requestId ?? random.hex(8),
      deadlineMs: clock.monotonicMs() + Math.min(request.timeoutMs, limits.requestMaxMs),
      at: nodeId,
    };
    return this.#tracked(call, { via: null, signal, forward: true, renamed: request.renamed });
  }

  /** A command that the node at the other end of a link has sent. */
  serve(call: PeerCall, { deadlineMs, ...passage }: Passage & { deadlineMs: number }): Promise<ProxyAnswer> {
    const { location, module, method, args, user, who, entry, requestId } = call;
    return this.#tracked({ location, module, method, args, user, who, entry, requestId, deadlineMs, at: this.#options.nodeId }, passage);
  }

  async #tracked(call: ProxyCall, { via, signal, forward, renamed }: Passage): Promise<ProxyAnswer> {
    const { metrics, random } = this.#options;
    // Clients name their requests; two that are under way at once get ids of their own.
    if (this.inFlight.has(call.requestId)) {
      call.requestId = random.hex(8);
      renamed?.(call.requestId);
    }
    try {
      const answer = await this.#proxy.exec(call, this.inFlight.begin(call, via, signal), forward);
      metrics.add('holdfast_exec_total', { outcome: 'ok' });
      return answer;
    } catch (thrown) {
      const error = this.#explained(this.inFlight.failureOf(call, thrown), call.module);
      metrics.add('holdfast_exec_total', { outcome: error instanceof HoldfastError ? error.code : 'bug' });
      throw error;
    } finally {
      this.inFlight.end(call);
    }
  }

  /** Who drives knows only the modules that are wanted to run. */
  #explained(error: unknown, module: string): unknown {
    const document = this.#options.directory.find('mod', module);
    const isStopped = document?.type === 'mod' && !document.running;
    if (!isStopped || !(error instanceof HoldfastError) || error.code !== 'MODULE_NOT_RUNNING') return error;
    return new HoldfastError('MODULE_NOT_RUNNING', { module, reason: `an operator stopped it; \`holdfast module start ${module}\` starts it` });
  }

  /** A client called the webhook of a trigger: whoever drives the location of its system is told. Throws NOT_FOUND. */
  async callTrigger(instance: string, call: string, signal: AbortSignal): Promise<string> {
    const { clock, directory } = this.#options;
    const location = directory.system(partsOf(instance).system).edge_control_id ?? MASTER_LOCATION;
    return this.#proxy.trigger({ location, instance, call }, { signal, deadlineMs: clock.monotonicMs() + limits.requestMs }, true);
  }

  /** The same for a client of the node at the other end of a link: it is taken here or nowhere. */
  serveTrigger(call: TriggerCall, context: { signal: CancelSignal; deadlineMs: number }): Promise<string> {
    return this.#proxy.trigger(call, context, false);
  }

  /** Commands in flight, oldest first, and starts and stops of modules. */
  requests(): RequestView[] {
    return [...this.inFlight.list(), ...this.underWay.list()];
  }

  /** Throws NOT_FOUND, ORDER_REFUSED. */
  async cancelRequest(id: string, by: AskedBy): Promise<RequestView> {
    const location = this.locationOfRequest(id);
    const under = location === null ? undefined : this.underWay.list().find((request) => request.id === id);
    if (location === null || under === undefined) return this.inFlight.cancel(id, by);
    const { signal } = new Canceller();
    if (this.underWay.runsHere(location)) await this.underWay.cancel(location, by.user, signal);
    else await this.modules.cancelAt(location, { user: by.user, who: by.who }, signal);
    return under;
  }

  /** Throws NOT_FOUND. */
  editedOf(module: string): string | null {
    return this.underWay.editedOf(this.target(module));
  }

  /** Location of a start or stop of modules; null: the id is none of these. */
  locationOfRequest(id: string): string | null {
    return this.inFlight.has(id) ? null : this.underWay.locationOf(id);
  }

  /** A module by its id, as this node knows it. Throws NOT_FOUND. */
  target(id: string): Target {
    const { location, module } = this.#options.directory.module(id);
    return { location, module };
  }

  status(name: ModuleName): ModuleStatus {
    return this.#known(this.#resolve(name));
  }

  /** Status of a module, wherever it is controlled. Throws NOT_FOUND, and what the link throws. */
  async statusOf(name: ModuleName): Promise<ModuleStatus> {
    return this.#readStatus(this.#resolve(name));
  }

  #known({ location, module }: Target): ModuleStatus {
    return { module, ...this.#options.board.module(location, module) };
  }

  async #readStatus({ location, module }: Target): Promise<ModuleStatus> {
    const { elsewhere } = this.#options;
    if (elsewhere?.has(location) !== true) return this.#known({ location, module });
    const options = { signal: new Canceller().signal, timeoutMs: limits.requestMs };
    const ask = (): Promise<Json> => elsewhere.request('status', { location, module }, options);
    return { module, ...readAnswer(statusAnswer, await this.#asked.ask(`${location}\n${module}`, ask), 'status') };
  }

  /** Calls back with what is known now, then on each change. Throws NOT_FOUND when the module is not there. */
  watch(name: ModuleName & { key: string | null }, listener: (change: StatusChange) => void): () => void {
    this.#resolve(name);
    return this.follow(name, listener);
  }

  /**
   * Like `watch`, of a module that may be absent now. It may come, be moved, or be replaced: the values of whatever has
   * the name then are told.
   */
  follow(name: ModuleName & { key: string | null }, listener: (change: StatusChange) => void): () => void {
    const { board } = this.#options;
    const { key: wanted, ...module } = name;
    const tell = (key: string, value: Json): void => {
      if (wanted === null || wanted === key) listener({ ...module, key, value });
    };
    const tellAll = (target: Target): void => {
      for (const [key, value] of Object.entries(board.module(target.location, target.module).values)) tell(key, value);
    };
    return this.#follow(name, tellAll, ({ key, value }) => tell(key, value));
  }

  /**
   * Calls back with the value of one variable now and on each change; null: it was never set. A module that is not
   * there yet is waited for. `located` is told its location at once and when it may be another one, before its values are.
   * Throws NOT_FOUND when the system does not exist.
   */
  bind(name: ModuleName & { key: string }, listener: ValueListener, located: PlaceListener = () => undefined): () => void {
    const { board, directory } = this.#options;
    directory.system(name.system);
    let told: Json | undefined;
    const tell = (value: Json, revision: Revision | null): void => {
      if (jsonEqual(told, value)) return;
      told = value;
      listener(value, revision);
    };
    const found = ({ location, module }: Target): void => {
      const known = board.value(location, module, name.key);
      tell(known?.value ?? null, known?.revision ?? null);
    };
    const changed: StatusListener = ({ key, value, revision }) => {
      if (key === name.key) tell(value, revision);
    };
    return this.#follow(name, found, changed, located);
  }

  /**
   * Log lines of a module, named as in a system or by its id, wherever it is controlled. They may come before this resolves, which
   * it does once whoever drives the module has heard of it. Throws NOT_FOUND.
   */
  async debug(name: ModuleName, listener: (line: DebugLine) => void): Promise<Debugging> {
    const { lines, directory } = this.#options;
    const { location, module, driver } = directory.module(this.#tryResolve(name)?.module ?? name.module);
    const { placed, stop } = lines.listen({ location, module }, ({ level, message, node }) => listener({ level, message, node }));
    await placed;
    return { module, driver, stop };
  }

  /** `found`: this module bears the name, now or from now on. `changed`: a status variable of it. `located`: to where the name belongs. */
  #follow(name: ModuleName, found: (target: Target) => void, changed: StatusListener, located: PlaceListener = () => undefined): () => void {
    const { directory } = this.#options;
    let target: Target | null = null;
    let stopBoard = (): void => undefined;
    const look = (): void => {
      const now = this.#tryResolve(name);
      located(now?.location ?? directory.locationOfSystem(name.system));
      if (now?.module === target?.module && now?.location === target?.location) return;
      target = now;
      stopBoard();
      // Of what is gone the last value stays known, until another module has the name.
      if (now === null) return;
      stopBoard = this.#watchBoard(now, () => found(now), changed);
    };
    look();
    const stopDirectory = directory.onChange(look);
    return () => {
      stopBoard();
      stopDirectory();
    };
  }

  /** `known`: the board has what there is. Of modules elsewhere it has nothing before it was asked for. */
  #watchBoard(target: Target, known: () => void, changed: StatusListener): () => void {
    const { board, elsewhere } = this.#options;
    let stopBoard = (): void => undefined;
    const begin = (): void => {
      stopBoard = board.watch(target.location, target.module, changed);
      known();
    };
    const { location } = target;
    if (elsewhere?.has(location) !== true) {
      begin();
      return () => stopBoard();
    }
    const letGo = elsewhere.subscriptions.hold('watch', target, begin);
    return () => {
      stopBoard();
      letGo();
    };
  }

  /** How many modules of that name the system lists. */
  count(system: string, name: string): number {
    return this.#options.directory.count(system, name);
  }

  /** The public methods of a module, wherever it is controlled. Throws NOT_FOUND, MODULE_NOT_RUNNING. */
  async functions(name: ModuleName): Promise<Record<string, ModuleFunction>> {
    const deadlineMs = this.#options.clock.monotonicMs() + limits.requestMs;
    return this.functionsOf(this.#resolve(name), { signal: new Canceller().signal, deadlineMs });
  }

  functionsOf(target: Target, context: { signal: CancelSignal; deadlineMs: number }, forward = true): Promise<Record<string, ModuleFunction>> {
    return this.#proxy.functions(target, context, forward);
  }

  #resolve({ system, module, index }: ModuleName): Target {
    return this.#options.directory.resolve(system, module, index);
  }

  #tryResolve(name: ModuleName): Target | null {
    return this.#options.directory.tryResolve(name.system, name.module, name.index);
  }
}
