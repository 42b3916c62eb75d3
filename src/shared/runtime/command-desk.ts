import { z } from 'zod';
import type { Json } from '../foundation/json.ts';
import { HoldfastError } from '../model/errors.ts';
import { limits } from '../model/limits.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { Random } from '../ports/random.ts';
import type { ModuleFunction } from '../ports/device-link.ts';
import type { Directory, Target } from './directory.ts';
import type { ExecAnswer, ExecRequest, ModuleCommand, ModuleStatus, StatusChange } from './node.ts';
import { Proxy, type ProxyCall, type ProxyOptions } from './proxy.ts';
import type { StatusBoard } from './status-board.ts';

export interface CommandDeskOptions extends ProxyOptions {
  random: Random;
  metrics: Metrics;
  directory: Directory;
  board: StatusBoard;
}

interface ModuleName {
  system: string;
  module: string;
  index: number;
}

export const execBodySchema = z.strictObject({
  location: z.string().max(120),
  module: z.string().max(120),
  method: z.string().max(200),
  args: z.array(z.json()).max(100),
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
    return this.#run(this.#options.directory.target(id), command, signal);
  }

  /** Throws NOT_FOUND. */
  locationOf(id: string): string {
    return this.#options.directory.target(id).location;
  }

  moduleStatus(id: string): ModuleStatus {
    const target = this.#options.directory.target(id);
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
   * the name then are told. While it is absent there is no news.
   */
  follow(name: ModuleName & { key: string | null }, listener: (change: StatusChange) => void): () => void {
    const { board, directory } = this.#options;
    const { key: wanted, ...module } = name;
    let target = this.#tryResolve(name);
    const tell = (key: string, value: Json): void => {
      if (wanted === null || wanted === key) listener({ ...module, key, value });
    };
    const tellAll = ({ location, module: id }: Target): void => {
      for (const [key, value] of Object.entries(board.module(location, id).values)) tell(key, value);
    };
    const stopBoard = board.onChange(({ location, module: id, key, value }) => {
      if (id === target?.module && location === target.location) tell(key, value);
    });
    const stopDirectory = directory.onChange(() => {
      const now = this.#tryResolve(name);
      if (now?.module === target?.module && now?.location === target?.location) return;
      target = now;
      if (now !== null) tellAll(now);
    });
    if (target !== null) tellAll(target);
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
