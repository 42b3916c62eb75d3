import type { Json } from '../foundation/json.ts';
import { limits } from '../model/limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { StatusReport } from '../ports/device-link.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import { Refusals } from './refusals.ts';

/** What one entry takes beside its texts, as measured. */
const ENTRY_BYTES = 500;

export interface StatusStrangersOptions {
  clock: Clock;
  log: Log;
  metrics: Metrics;
  /** Does a document say that this location has such a module? */
  isNamed(location: string, module: string): boolean;
}

/** The values of a module that no document names. */
export interface Stranger {
  isNamed: boolean;
  /** Of its values. */
  bytes: number;
}

interface Room {
  bytes: number;
  modules: Map<string, Stranger>;
}

/**
 * Modules that report and that no document names. Their documents may be on the way, so that what they say is kept; but an edge
 * could go on inventing modules, so that it is kept up to a limit for each location.
 */
export class StatusStrangers {
  readonly #options: StatusStrangersOptions;
  readonly #rooms = new Map<string, Room>();
  readonly #refusals: Refusals;

  constructor(options: StatusStrangersOptions) {
    this.#options = options;
    this.#refusals = new Refusals(options.clock);
  }

  isNamed(location: string, module: string): boolean {
    return this.#options.isNamed(location, module);
  }

  /** Is there room for this value, which takes the place of another one of the same variable (undefined: of none)? */
  admits(stranger: Stranger, { location, module, key, value }: StatusReport, before: Json | undefined): boolean {
    const room = this.#rooms.get(location) ?? { bytes: 0, modules: new Map<string, Stranger>() };
    const more = before === undefined ? ENTRY_BYTES + module.length + key.length + lengthOf(value) : lengthOf(value) - lengthOf(before);
    if (more > 0 && room.bytes + more > limits.strangersBytes) {
      this.#refuse(location, module);
      return false;
    }
    room.bytes += more;
    stranger.bytes += more;
    this.#rooms.set(location, room);
    room.modules.set(module, stranger);
    return true;
  }

  /** Of modules that documents name by now nothing is counted any more. */
  documentsChanged(): void {
    for (const [location, room] of this.#rooms) {
      for (const [module, stranger] of room.modules) {
        if (!this.isNamed(location, module)) continue;
        stranger.isNamed = true;
        room.bytes -= stranger.bytes;
        room.modules.delete(module);
      }
      if (room.modules.size === 0) this.#rooms.delete(location);
    }
  }

  #refuse(location: string, module: string): void {
    const { log, metrics } = this.#options;
    const reason = 'unknown-module';
    metrics.add('holdfast_status_dropped_total', { location, reason });
    if (this.#refusals.note(location)) log.warn('status-dropped', { location, module, reason });
  }
}

const lengthOf = (value: Json): number => JSON.stringify(value).length;
