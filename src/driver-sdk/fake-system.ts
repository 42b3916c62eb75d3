import { isDeepStrictEqual } from 'node:util';
import type { Json } from '../shared/foundation/json.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import type { SystemRequest, SystemTarget } from '../shared/ports/device-link.ts';
import type { SystemPort } from './system.ts';

/** What the methods of another module answer. */
export type FakeMethods = Record<string, (...args: Json[]) => Json | undefined | Promise<Json | undefined>>;

interface MadeCall {
  module: string;
  method: string;
  args: Json[];
}

const nameOf = ({ name, index }: SystemTarget): string => `${name}_${index}`;

/** The other modules of the system of a driver under test. */
export class FakeSystem implements SystemPort {
  readonly #modules: Map<string, FakeMethods>;
  readonly #status = new Map<string, Json>();
  readonly #watchers = new Set<{ key: string; listener: (value: Json) => void }>();
  readonly #calls: MadeCall[] = [];

  readonly #asked: () => void;

  constructor(modules: Record<string, FakeMethods>, asked: () => void = () => undefined) {
    this.#asked = asked;
    this.#modules = new Map(Object.entries(modules));
  }

  async ask(request: SystemRequest): Promise<Json> {
    this.#asked();
    switch (request.kind) {
      case 'count': {
        let count = 0;
        while (this.#modules.has(nameOf({ name: request.name, index: count + 1 }))) count += 1;
        return count;
      }
      case 'status':
        return this.#status.get(`${nameOf(request)} ${request.key}`) ?? null;
      case 'exec': {
        const { method, args } = request;
        const module = nameOf(request);
        const methods = this.#modules.get(module);
        if (methods === undefined) throw new HoldfastError('NOT_FOUND', { kind: 'module', id: module });
        this.#calls.push({ module, method, args });
        const run = Object.hasOwn(methods, method) ? methods[method] : undefined;
        if (run === undefined) throw new HoldfastError('METHOD_NOT_FOUND', { module, method });
        return (await run(...args)) ?? null;
      }
    }
  }

  watch(target: SystemTarget & { key: string }, listener: (value: Json) => void): () => void {
    const watcher = { key: `${nameOf(target)} ${target.key}`, listener };
    this.#watchers.add(watcher);
    const value = this.#status.get(watcher.key);
    if (value !== undefined) listener(value);
    return () => this.#watchers.delete(watcher);
  }

  setStatus(module: string, key: string, value: Json): void {
    const variable = `${module} ${key}`;
    if (isDeepStrictEqual(this.#status.get(variable), value)) return;
    this.#status.set(variable, value);
    for (const watcher of this.#watchers) if (watcher.key === variable) watcher.listener(value);
  }

  expectCall(module: string, method: string, args: Json[]): void {
    const made = this.#calls.shift();
    if (isDeepStrictEqual(made, { module, method, args })) return;
    throw new Error(`expected the call ${shown({ module, method, args })}, got ${made === undefined ? 'none' : shown(made)}`);
  }

  expectNoCall(): void {
    const [made] = this.#calls;
    if (made !== undefined) throw new Error(`expected no call, got ${shown(made)}`);
  }
}

const shown = ({ module, method, args }: MadeCall): string => `${module}.${method}(${args.map((arg) => JSON.stringify(arg)).join(', ')})`;
