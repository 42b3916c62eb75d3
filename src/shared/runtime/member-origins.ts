import { z } from 'zod';
import type { Json } from '../foundation/json.ts';
import { HoldfastError } from '../model/errors.ts';

const bodySchema = z.strictObject({
  origin: z.string().max(300).regex(/^https?:\/\/[A-Za-z0-9._:[\]-]+$/, 'must be an origin such as https://edge.example.org:8443'),
});

/** Where clients reach the two ends of a link. Each end tells its own when the link opens, and keeps the other's when it is gone. */
export class MemberOrigins {
  readonly #post: (body: Json) => void;
  #own: string | null = null;
  #other: string | null = null;

  constructor(post: (body: Json) => void) {
    this.#post = post;
  }

  /** null until they were heard. */
  get own(): string | null {
    return this.#own;
  }

  get other(): string | null {
    return this.#other;
  }

  set(own: string | null): void {
    this.#own = own;
    this.announce();
  }

  /** To be called when the link opens: what was told while it was down is lost. */
  announce(): void {
    if (this.#own !== null) this.#post({ origin: this.#own });
  }

  /** Throws INPUT_INVALID. */
  heard(body: Json): void {
    const parsed = bodySchema.safeParse(body);
    if (!parsed.success) throw new HoldfastError('INPUT_INVALID', { field: 'origin', problem: parsed.error.issues[0]?.message ?? 'invalid' });
    this.#other = parsed.data.origin;
  }
}
