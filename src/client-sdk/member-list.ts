import { z } from 'zod';
import { HoldfastError } from '../shared/model/errors.ts';

const placesSchema = z.object({ edge: z.string().nullable(), master: z.string().nullable() });
type Places = z.output<typeof placesSchema>;
const storedSchema = z.object({ lastGood: z.string().nullable(), systems: z.record(z.string(), placesSchema) });

/** The origins that can serve each system: those that the application named, and those that servers told. Pure. */
export class MemberList {
  readonly #named: readonly string[];
  readonly #systems: Map<string, Places>;
  #lastGood: string | null;

  /** `stored`: what `toText` gave in an earlier run. Throws INPUT_INVALID for a name that is no origin. */
  constructor(named: readonly string[], stored: string | null) {
    this.#named = [...new Set(named.map((text) => originIn(text)))];
    if (this.#named.length === 0) throw new HoldfastError('INPUT_INVALID', { field: 'origins', problem: 'name at least one server' });
    const { lastGood, systems } = readStored(stored);
    this.#systems = new Map(Object.entries(systems));
    this.#lastGood = lastGood;
  }

  get lastGood(): string | null {
    return this.#lastGood;
  }

  includes(origin: string): boolean {
    return this.#named.includes(origin) || [...this.#systems.values()].some(({ edge, master }) => origin === edge || origin === master);
  }

  roleOf(origin: string): 'edge' | 'master' | null {
    for (const { edge, master } of this.#systems.values()) {
      if (origin === edge) return 'edge';
      if (origin === master) return 'master';
    }
    return null;
  }

  /** What a server says about a system. An origin without TLS is not taken from one with TLS: the key would travel in the clear. */
  learn(teller: string, system: string, { edge, master }: Places): void {
    const take = (origin: string | null): string | null => (origin === null || isWeaker(origin, teller) ? null : origin);
    const known = this.#systems.get(system);
    // The teller may not have heard of the other one yet.
    this.#systems.set(system, { edge: take(edge) ?? known?.edge ?? null, master: take(master) ?? known?.master ?? null });
  }

  worked(origin: string): void {
    this.#lastGood = origin;
  }

  /** In the order to try them for a client of these systems: the last good one, then the others at random. */
  candidates(systems: Iterable<string>, draw: () => number): string[] {
    const told = [...systems].flatMap((system) => {
      const places = this.#systems.get(system);
      return places === undefined ? [] : [places.edge, places.master];
    });
    const all = [...new Set([...this.#named, ...told.filter((origin) => origin !== null)])];
    const others = all.filter((origin) => origin !== this.#lastGood);
    const shuffled = others.map((origin) => ({ origin, at: draw() })).toSorted((a, b) => a.at - b.at);
    return [...all.filter((origin) => origin === this.#lastGood), ...shuffled.map(({ origin }) => origin)];
  }

  toText(): string {
    return JSON.stringify({ lastGood: this.#lastGood, systems: Object.fromEntries(this.#systems) });
  }
}

function originIn(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url !== null && (url.protocol === 'https:' || url.protocol === 'http:')) return url.origin;
  throw new HoldfastError('INPUT_INVALID', { field: 'origins', problem: `${text.slice(0, 200)} is no origin such as https://edge.example.org:8443` });
}

const isWeaker = (origin: string, than: string): boolean => than.startsWith('https:') && !origin.startsWith('https:');

/** What was stored is a memory aid: when it cannot be read, the named servers are asked again. */
function readStored(text: string | null): z.output<typeof storedSchema> {
  try {
    return storedSchema.parse(JSON.parse(text ?? ''));
  } catch {
    return { lastGood: null, systems: {} };
  }
}
