import type { Json } from '../../foundation/json.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { StatusReport } from '../../ports/device-link.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { Refusals } from '../refusals.ts';

/** What one entry takes beside its texts, as measured. */
const ENTRY_BYTES = 500;

export interface StatusRoomOptions {
  clock: Clock;
  log: Log;
  metrics: Metrics;
  /** Does a document say that this location has such a module? */
  isNamed(location: string, module: string): boolean;
}

/** A module that no document names. */
export interface Stranger {
  isNamed: boolean;
  /** Of its values. */
  bytes: number;
}

interface Strangers {
  bytes: number;
  modules: Map<string, Stranger>;
}

type Reported = Pick<StatusReport, 'location' | 'module' | 'key' | 'value'>;

/**
 * How much a master keeps of what an edge reports. Documents of modules that are not known may be on the way, so that what these say
 * is kept; but an edge could go on inventing modules, or make its values longer and longer.
 */
export class StatusRoom {
  readonly #options: StatusRoomOptions;
  readonly #strangers = new Map<string, Strangers>();
  /** Bytes of long values, by location. */
  readonly #long = new Map<string, number>();
  readonly #refusals: Refusals;

  constructor(options: StatusRoomOptions) {
    this.#options = options;
    this.#refusals = new Refusals(options.clock);
  }

  isNamed(location: string, module: string): boolean {
    return this.#options.isNamed(location, module);
  }

  /** Is there room for this value of a module that no document names? `before`: what it takes the place of; undefined: of none. */
  admits(stranger: Stranger, reported: Reported, before: Json | undefined): boolean {
    const { location, module, value } = reported;
    const strangers = this.#strangers.get(location) ?? { bytes: 0, modules: new Map<string, Stranger>() };
    const more = before === undefined ? bytesOf(reported) : lengthOf(value) - lengthOf(before);
    if (more > 0 && strangers.bytes + more > limits.strangersBytes) return this.#refuse(reported, 'unknown-module');
    strangers.bytes += more;
    stranger.bytes += more;
    this.#strangers.set(location, strangers);
    strangers.modules.set(module, stranger);
    return true;
  }

  /** A value of such a module is kept no more. */
  leaves(stranger: Stranger, reported: Reported): void {
    const strangers = this.#strangers.get(reported.location);
    if (strangers === undefined) return;
    const bytes = bytesOf(reported);
    strangers.bytes -= bytes;
    stranger.bytes -= bytes;
  }

  /** So much more, or less, of long values. */
  takes(reported: Reported, more: number): boolean {
    const bytes = (this.#long.get(reported.location) ?? 0) + more;
    if (more > 0 && bytes > limits.longStatusBytes) return this.#refuse(reported, 'too-long-values');
    this.#long.set(reported.location, bytes);
    return true;
  }

  /** Modules that documents name by now are strangers no more. */
  documentsChanged(): void {
    for (const [location, strangers] of this.#strangers) {
      for (const [module, stranger] of strangers.modules) {
        if (!this.isNamed(location, module)) continue;
        stranger.isNamed = true;
        strangers.bytes -= stranger.bytes;
        strangers.modules.delete(module);
      }
      if (strangers.modules.size === 0) this.#strangers.delete(location);
    }
  }

  #refuse({ location, module }: Reported, reason: string): false {
    const { log, metrics } = this.#options;
    metrics.add('holdfast_status_dropped_total', { location, reason });
    if (this.#refusals.note(`${location} ${reason}`)) log.warn('status-dropped', { location, module, reason });
    return false;
  }
}

const bytesOf = ({ module, key, value }: Reported): number => ENTRY_BYTES + module.length + key.length + lengthOf(value);
const lengthOf = (value: Json): number => JSON.stringify(value).length;
