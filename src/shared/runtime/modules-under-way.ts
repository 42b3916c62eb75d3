import { z } from 'zod';
import type { CancelSignal } from '../foundation/cancel.ts';
import type { Json } from '../foundation/json.ts';
import { limits } from '../model/limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { DeviceLink, ModulesProgress } from '../ports/device-link.ts';
import { progressText } from './driver-hosts/progress.ts';
import type { LocationView, RequestView } from './node.ts';
import { readBody } from './peer-bodies.ts';

const count = z.int().min(0);
/** What an edge tells of its modules; null: nothing is under way. */
const progressBody = z.strictObject({ action: z.enum(['start', 'stop']), done: count, total: count, failing: count, age: z.number() }).nullable();

interface Under {
  progress: ModulesProgress;
  at: string;
}

const PREFIX = 'modules-';

/** Starts and stops of modules, here and at the edges that tell of theirs. They are listed, and cancelled, like commands. */
export class ModulesUnderWay {
  readonly #clock: Clock;
  readonly #deviceLink: DeviceLink;
  readonly #here = new Map<string, Under>();
  readonly #there = new Map<string, Under>();
  readonly #listeners = new Set<(location: string, body: Json) => void>();

  constructor({ clock, deviceLink, nodeId }: { clock: Clock; deviceLink: DeviceLink; nodeId: string }) {
    this.#clock = clock;
    this.#deviceLink = deviceLink;
    deviceLink.onProgress((location, progress) => {
      if (progress === null) this.#here.delete(location);
      else this.#here.set(location, { progress, at: nodeId });
      for (const listener of this.#listeners) listener(location, this.#bodyOf(progress));
    });
  }

  of(location: string): LocationView['progress'] {
    const progress = this.#find(location)?.progress;
    return progress === undefined ? null : { action: progress.action, done: progress.done, total: progress.total, failing: progress.failing };
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

  /** What the edge of a location tells; null when its session is over. Throws INPUT_INVALID. */
  hear(location: string, body: Json): void {
    const told = readBody(progressBody, body);
    if (told === null) {
      this.#there.delete(location);
      return;
    }
    const { age, ...progress } = told;
    this.#there.set(location, { progress: { location, ...progress, sinceMs: this.#clock.monotonicMs() - age }, at: location });
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
