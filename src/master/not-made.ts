import { EPOCH_ZERO } from '../shared/control/epoch.ts';
import { noWindowOrders, windowUnder } from '../shared/control/window-orders.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { Log } from '../shared/ports/log.ts';
import type { Directory } from '../shared/runtime/documents/directory.ts';
import { locationView, restoreWindowOf, termsOf } from '../shared/runtime/location/location-view.ts';
import type { LocationView } from '../shared/runtime/node.ts';

/** State and reason of a location that has no control machine. */
const STATE = 'not-made';
const REASON = 'location-not-made';

interface NotMadeOptions {
  clock: Clock;
  log: Log;
  directory: Directory;
}

/** Locations whose document is stored, and whose control machine could not be made: shown, or nobody would look for them. */
export class NotMade {
  readonly #options: NotMadeOptions;
  /** Unix milliseconds by id. */
  readonly #sinceMs = new Map<string, number>();

  constructor(options: NotMadeOptions) {
    this.#options = options;
  }

  /** The next change of its document tries again, or a restart; others must not wait for it. */
  note(location: string, error: unknown): void {
    if (!(error instanceof HoldfastError)) throw error;
    const { clock, log } = this.#options;
    this.#sinceMs.set(location, this.#sinceMs.get(location) ?? clock.wallMs());
    log.error(REASON, { location, error });
  }

  made(location: string): void {
    this.#sinceMs.delete(location);
  }

  views(): LocationView[] {
    return [...this.#sinceMs.keys()].flatMap((id) => this.view(id) ?? []);
  }

  /** null: it was made, or its document is gone. */
  view(id: string): LocationView | null {
    const { clock, directory } = this.#options;
    const sinceMs = this.#sinceMs.get(id);
    const document = directory.edge(id);
    if (sinceMs === undefined || document === null) return null;
    const schedule = restoreWindowOf(document);
    return locationView({
      document,
      schedule,
      window: windowUnder(schedule, noWindowOrders, clock.wallMs()),
      durable: { epoch: EPOCH_ZERO, floor: EPOCH_ZERO, holder: 'none', reason: REASON, terms: termsOf(document, false) },
      state: STATE,
      sinceMs,
      paused: false,
      linked: false,
      dueInMs: null,
      holdDownMs: 0,
      dualControlSeconds: 0,
      modules: { total: directory.countModulesOf(id), running: 0, failing: 0 },
      progress: null,
      edited: 0,
      commit: null,
    });
  }

  /** What an order for a location that is not there is answered with. */
  refusal(id: string): HoldfastError {
    if (this.view(id) === null) return new HoldfastError('NOT_FOUND', { kind: 'location', id });
    return new HoldfastError('ORDER_REFUSED', { location: id, reason: REASON });
  }
}
