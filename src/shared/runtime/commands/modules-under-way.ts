import { z } from 'zod';
import type { CancelSignal } from '../../foundation/cancel.ts';
import type { Json } from '../../foundation/json.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { DeviceLink, ModulesProgress } from '../../ports/device-link.ts';
import { progressText } from '../driver-hosts/progress.ts';
import type { Target } from '../documents/directory.ts';
import type { LocationView, RequestView } from '../node.ts';
import { readBody } from '../peer/peer-bodies.ts';

const count = z.int().min(0);
/** What an edge tells of its modules: what is under way (null: nothing), and which run edited code. */
const modulesPost = z.strictObject({
  progress: z.strictObject({ action: z.enum(['start', 'stop']), done: count, total: count, failing: count, age: z.number() }).nullable(),
  edited: z.record(z.string().max(120), z.string().max(1_000)),
});

interface Under {
  progress: ModulesProgress;
  at: string;
}

const PREFIX = 'modules-';

/**
 * Starts and stops of modules, here and at the edges that tell of theirs, which are listed, and cancelled, like commands;
 * and which modules run edited code.
 */
export class ModulesUnderWay {
  readonly #clock: Clock;
  readonly #deviceLink: DeviceLink;
  readonly #here = new Map<string, Under>();
  readonly #there = new Map<string, Under>();
  readonly #edited = new Map<string, Readonly<Record<string, string>>>();
  readonly #listeners = new Set<(location: string, body: Json) => void>();

  constructor({ clock, deviceLink, nodeId }: { clock: Clock; deviceLink: DeviceLink; nodeId: string }) {
    this.#clock = clock;
    this.#deviceLink = deviceLink;
    deviceLink.onProgress((location, progress) => {
      if (progress === null) this.#here.delete(location);
      else this.#here.set(location, { progress, at: nodeId });
      this.tell(location);
    });
    deviceLink.onEdited((location, edited) => {
      this.#edited.set(location, edited);
      this.tell(location);
    });
  }

  of(location: string): LocationView['progress'] {
    const progress = this.#find(location)?.progress;
    return progress === undefined ? null : { action: progress.action, done: progress.done, total: progress.total, failing: progress.failing };
  }

  /** How many modules of a location run edited code. */
  countEdited(location: string): number {
    return Object.keys(this.#edited.get(location) ?? {}).length;
  }

  /** What was edited; null: nothing. */
  editedOf({ location, module }: Target): string | null {
    const edited = this.#edited.get(location) ?? {};
    return Object.hasOwn(edited, module) ? (edited[module] ?? null) : null;
  }

  list(): RequestView[] {
    return [...new Set([...this.#here.keys(), ...this.#there.keys()])].flatMap((location) => {
      const under = this.#find(location);
      return under === undefined ? [] : [this.#viewOf(under)];
    });
  }

  /** The location of a start or stop that has this id as a request; null: it is none. */
  locationOf(request: string): string | null {
    return this.list().find(({ id }) => id === request)?.location ?? null;
  }

  runsHere(location: string): boolean {
    return this.#here.has(location);
  }

  /** Of what runs here. Throws ORDER_REFUSED. */
  async cancel(location: string, by: string, signal: CancelSignal): Promise<void> {
    await this.#deviceLink.manage({ location, action: 'cancel', modules: [], by }, signal);
  }

  /** What is to be told to the node at the other end of a link. Returns the way to stop. */
  onChange(listener: (location: string, body: Json) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** To whoever listens: how it is now. */
  tell(location: string): void {
    const body = { progress: this.#bodyOf(this.#here.get(location)?.progress ?? null), edited: { ...this.#edited.get(location) } };
    for (const listener of this.#listeners) listener(location, body);
  }

  /** What the edge of a location tells. Throws INPUT_INVALID. */
  hear(location: string, body: Json): void {
    const told = readBody(modulesPost, body);
    this.#edited.set(location, told.edited);
    if (told.progress === null) return void this.#there.delete(location);
    const { age, ...progress } = told.progress;
    this.#there.set(location, { progress: { location, ...progress, sinceMs: this.#clock.monotonicMs() - age }, at: location });
  }

  /** Its session is over. */
  forget(location: string): void {
    this.#there.delete(location);
    this.#edited.delete(location);
  }

  #find(location: string): Under | undefined {
    return this.#here.get(location) ?? this.#there.get(location);
  }

  #bodyOf(progress: ModulesProgress | null): Json {
    if (progress === null) return null;
    const { action, done, total, failing, sinceMs } = progress;
    return { action, done, total, failing, age: this.#clock.monotonicMs() - sinceMs };
  }

  #viewOf({ progress, at }: Under): RequestView {
    const { location, action, sinceMs } = progress;
    const ageMs = this.#clock.monotonicMs() - sinceMs;
    const what = { location, module: progressText(progress), method: action };
    const times = { sinceMs: this.#clock.wallMs() - ageMs, ageMs, leftMs: null };
    return { id: `${PREFIX}${location}`.slice(0, limits.requestIdLength), user: '', ...what, entry: at, via: null, at, ...times };
  }
}
