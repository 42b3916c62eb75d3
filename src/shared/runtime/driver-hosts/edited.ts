import { jsonEqual } from '../../foundation/json.ts';
import type { Location } from './running-location.ts';

type Listener = (location: string, edited: Readonly<Record<string, string>>) => void;

/** Tells which modules run code that is tried live, when that changes. */
export class EditedModules {
  readonly #listeners = new Set<Listener>();
  readonly #told = new Map<string, Record<string, string>>();

  on(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  look({ id, modules }: Location): void {
    const edited: Record<string, string> = {};
    for (const [module, placed] of modules) if (placed.edited !== null) edited[module] = placed.edited;
    if (jsonEqual(edited, this.#told.get(id) ?? {})) return;
    if (Object.keys(edited).length === 0) this.#told.delete(id);
    else this.#told.set(id, edited);
    for (const listener of this.#listeners) listener(id, edited);
  }
}
