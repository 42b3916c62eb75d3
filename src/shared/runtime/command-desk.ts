import { z } from 'zod';
import { jsonValueSchema } from '../client-api/parse.ts';
import { type Json, jsonEqual } from '../foundation/json.ts';
import { HoldfastError } from '../model/errors.ts';
import { limits } from '../model/limits.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { Random } from '../ports/random.ts';
import type { ModuleFunction } from '../ports/device-link.ts';
import type { Directory, Target } from './directory.ts';
import type { Debugging, DebugLine, ExecAnswer, ExecRequest, ModuleCommand, ModuleName, ModuleStatus, StatusChange } from './node.ts';
import { Proxy, type ProxyCall, type ProxyOptions } from './proxy.ts';
import type { StatusBoard, StatusListener } from './status-board.ts';

export interface CommandDeskOptions extends ProxyOptions {
  random: Random;
  metrics: Metrics;
  directory: Directory;
  board: StatusBoard;
}

export const execBodySchema = z.strictObject({
  location: z.string().max(120),
  module: z.string().max(120),
  method: z.string().max(200),
  args: z.array(jsonValueSchema).max(100),
  user: z.string().max(200),
  requestId: z.string().max(100),
});

/** Takes commands and questions about modules, from clients of this node and from its peers, and answers them. */
export class CommandDesk {
  readonly #options: CommandDeskOptions;
  readonly #proxy: Proxy;

  constructor(options: CommandDeskOptions) {
    this.#options = options;
    this.#proxy = new Proxy(options);
  }

  /** Runs a method wherever its module is controlled. Throws NOT_FOUND, NO_HOLDER, CONTROL_CHANGING, or what the driver said. */
  async exec(request: ExecRequest, signal: AbortSignal): Promise<ExecAnswer> {
    return this.#run(this.#resolve(request), request, signal);
  }

  /** The same for a module that is named by its id. */
  async execModule({ id, ...command }: ModuleCommand, signal: AbortSignal): Promise<ExecAnswer> {
    return this.#run(this.#options.directory.module(id), command, signal);
  }

  /** Throws NOT_FOUND. */
  locationOf(id: string): string {
    return this.#options.directory.module(id).location;
  }

  moduleStatus(id: string): ModuleStatus {
    const target = this.#options.directory.module(id);
    return { module: id, ...this.#options.board.module(target.location, id) };
  }

  #run(target: Target, request: Omit<ModuleCommand, 'id'>, signal: AbortSignal): Promise<ExecAnswer> {
    const { clock, random } = this.#options;
    const call: ProxyCall = {
      ...target,
      method: request.method,
      args: request.args,
      user: request.user,
      requestId: random.hex(8),
      deadlineMs: clock.monotonicMs() + Math.min(request.timeoutMs, limits.requestMaxMs),
    };
    return this.#counted(this.#proxy.exec(call, signal));
  }

  /** A command that the node at the other end of a link passed on: for that link's location, and never sent back to it. */
  async serveExec(body: Json, context: { signal: AbortSignal; deadlineMs: number; location: string }): Promise<Json> {
    const parsed = execBodySchema.safeParse(body);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      throw new HoldfastError('INPUT_INVALID', { field: issue?.path.join('.') ?? 'body', problem: issue?.message ?? 'invalid' });
    }
    if (parsed.data.location !== context.location) throw new HoldfastError('FORBIDDEN', { needs: `a command for ${context.location}` });
    const call: ProxyCall = { ...parsed.data, deadlineMs: context.deadlineMs };
    const { value, servedBy } = await this.#counted(this.#proxy.exec(call, context.signal, false));
    return { value, servedBy };
  }

  status(name: ModuleName): ModuleStatus {
    const target = this.#resolve(name);
    return { module: target.module, ...this.#options.board.module(target.location, target.module) };
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
   * there yet is waited for. Throws NOT_FOUND when the system does not exist.
   */
  bind(name: ModuleName & { key: string }, listener: (value: Json) => void): () => void {
    const { board, directory } = this.#options;
    directory.system(name.system);
    let told: Json | undefined;
    const tell = (value: Json): void => {
      if (jsonEqual(told, value)) return;
      told = value;
      listener(value);
    };
    const found = ({ location, module }: Target): void => tell(board.value(location, module, name.key) ?? null);
    return this.#follow(name, found, ({ key, value }) => {
      if (key === name.key) tell(value);
    });
  }

  /** Log lines of a module, named as in a system or by its id. Throws NOT_FOUND. */
  debug(name: ModuleName, listener: (line: DebugLine) => void): Debugging {
    const { deviceLink, directory } = this.#options;
    const { module, driver } = directory.module(this.#tryResolve(name)?.module ?? name.module);
    const stop = deviceLink.onLog(({ module: id, level, message }) => {
      if (id === module) listener({ level, message });
    });
    return { module, driver, stop };
  }

  /** `found`: this module bears the name, now or from now on. `changed`: a status variable of it. */
  #follow(name: ModuleName, found: (target: Target) => void, changed: StatusListener): () => void {
    const { board, directory } = this.#options;
    let target: Target | null = null;
    let stopBoard = (): void => undefined;
    const look = (): void => {
      const now = this.#tryResolve(name);
      if (now?.module === target?.module && now?.location === target?.location) return;
      target = now;
      stopBoard();
      // Of what is gone the last value stays known, until another module has the name.
      if (now === null) return;
      stopBoard = board.watch(now.location, now.module, changed);
      found(now);
    };
    look();
    const stopDirectory = directory.onChange(look);
    return () => {
      stopBoard();
      stopDirectory();
    };
  }

  /** How many modules of that name the system lists. */
  count(system: string, name: string): number {
    return this.#options.directory.count(system, name);
  }

  /** The public methods of a module that this node drives. Throws NOT_FOUND, MODULE_NOT_RUNNING. */
  functions(name: ModuleName): Promise<Record<string, ModuleFunction>> {
    const { location, module } = this.#resolve(name);
    return this.#options.deviceLink.functions(location, module);
  }

  #resolve({ system, module, index }: ModuleName): Target {
    return this.#options.directory.resolve(system, module, index);
  }

  #tryResolve(name: ModuleName): Target | null {
    try {
      return this.#resolve(name);
    } catch {
      return null;
    }
  }

  async #counted<T>(answer: Promise<T>): Promise<T> {
    const { metrics } = this.#options;
    try {
      const value = await answer;
      metrics.add('holdfast_exec_total', { outcome: 'ok' });
      return value;
    } catch (error) {
      metrics.add('holdfast_exec_total', { outcome: error instanceof HoldfastError ? error.code : 'bug' });
      throw error;
    }
  }
}
