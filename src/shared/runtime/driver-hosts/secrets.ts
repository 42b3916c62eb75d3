import { fromWire, HoldfastError } from '../../model/errors.ts';
import { hideSecrets } from '../../model/secrets.ts';
import type { Location } from './running-location.ts';

type Of = { location: string; module: string } | null;

/** What drivers say without the secrets in the settings of their modules. */
export class Secrets {
  readonly #locations: ReadonlyMap<string, Location>;

  constructor(locations: ReadonlyMap<string, Location>) {
    this.#locations = locations;
  }

  /** `of` null: without the secrets of all modules. */
  hide(text: string, of: Of): string {
    return hideSecrets(text, of === null ? this.#all() : this.of(of.location, of.module));
  }

  of(location: string, module: string): readonly string[] {
    return this.#locations.get(location)?.modules.get(module)?.spec.sealed?.secrets ?? [];
  }

  throwHidden(error: unknown, of: Of): never {
    if (!(error instanceof HoldfastError)) throw error;
    const facts = Object.entries(error.facts).map(([name, fact]) => [name, typeof fact === 'string' ? this.hide(fact, of) : fact]);
    throw fromWire({ ...error.toJSON(), facts: Object.fromEntries(facts) });
  }

  #all(): Set<string> {
    const placed = [...this.#locations.values()].flatMap(({ modules }) => [...modules.values()]);
    return new Set(placed.flatMap(({ spec }) => spec.sealed?.secrets ?? []));
  }
}
