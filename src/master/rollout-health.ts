import type { Json } from '../shared/foundation/json.ts';

/** By module, what it says of itself. */
export type ModuleHealth = ReadonlyMap<string, { connected: boolean | null; problem: string | null }>;

export function healthOf(modules: readonly string[], valuesOf: (module: string) => Record<string, Json>): ModuleHealth {
  return new Map(
    modules.map((module) => {
      const { connected, problem } = valuesOf(module);
      return [module, { connected: typeof connected === 'boolean' ? connected : null, problem: typeof problem === 'string' ? problem : null }];
    }),
  );
}

/** What was well and is not any more. A module that was ill before proves nothing, nor does one that is new or gone. */
export function worseModules(before: ModuleHealth, now: ModuleHealth): string[] {
  return [...before].flatMap(([module, was]) => {
    const is = now.get(module);
    if (is === undefined || was.problem !== null) return [];
    if (is.problem !== null) return [`${module}: ${is.problem}`];
    return was.connected === true && is.connected !== true ? [`${module} is not connected any more`] : [];
  });
}
