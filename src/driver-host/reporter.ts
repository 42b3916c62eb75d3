import type { Urgency } from '../shared/foundation/turn-gatherer.ts';
import type { Json } from '../shared/foundation/json.ts';
import type { Epoch } from '../shared/model/control.ts';
import { limits } from '../shared/model/limits.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { ModuleLogLine } from '../shared/ports/device-link.ts';
import type { FromHost } from '../shared/runtime/driver-hosts/messages.ts';

/** The node does not keep up when this much waits for it. */
const CONGESTED = limits.hostPipeBytes / 4;
const WINDOW_MS = 100;
/** So many windows in a row that are too short are no burst. */
const FLOOD_WINDOWS = 10;
/** What one module may report within a window. */
const ALLOWANCE = (limits.moduleReportsPerSecond * WINDOW_MS) / 1_000;

export interface HostPipe {
  send(message: FromHost, urgency?: Urgency): void;
  bufferedBytes(): number;
}

interface Source {
  location: string;
  module: string;
  epoch: Epoch;
}

/** What one module has reported in this window, and what waits for the next. */
interface Account {
  location: string;
  module: string;
  spent: number;
  waiting: Map<string, Extract<FromHost, { t: 'status' }>> | null;
  lostLines: number;
  /** Windows in a row that were too short for it. */
  overrun: number;
}

/**
 * Status and log lines on their way to the node. When the node is slow, or a module floods it, the last value of each
 * variable waits, and log lines are dropped and counted.
 */
export class Reporter {
  readonly #pipe: HostPipe;
  readonly #clock: Clock;
  /** Modules that reported something in this window, or have something waiting. */
  #accounts = new Map<string, Account>();
  #windowOpen = false;
  readonly #flooded: (location: string, module: string) => void;

  /** `flooded`: a module reports more than it may, and goes on to do so. */
  constructor(pipe: HostPipe, clock: Clock, flooded: (location: string, module: string) => void) {
    this.#pipe = pipe;
    this.#clock = clock;
    this.#flooded = flooded;
  }

  status({ location, module, epoch }: Source, key: string, value: Json): void {
    const message = { t: 'status' as const, location, module, key, value, epoch };
    const account = this.#accountOf(location, module);
    // Once one waits all of the module do: an older value must not overtake a newer one.
    if (account.waiting !== null || !this.#mayReport(account)) (account.waiting ??= new Map()).set(key, message);
    else this.#report(account, message);
  }

  log(line: ModuleLogLine): void {
    const account = this.#accountOf(line.location, line.module);
    if (this.#mayReport(account)) this.#report(account, { t: 'log', ...line });
    else account.lostLines += 1;
  }

  drained(): void {
    for (const account of this.#accounts.values()) this.#settle(account);
  }

  #accountOf(location: string, module: string): Account {
    const id = `${location}/${module}`;
    const known = this.#accounts.get(id);
    if (known !== undefined) return known;
    const account: Account = { location, module, spent: 0, waiting: null, lostLines: 0, overrun: 0 };
    this.#accounts.set(id, account);
    if (!this.#windowOpen) this.#openWindow();
    return account;
  }

  #openWindow(): void {
    this.#windowOpen = true;
    this.#clock.after(WINDOW_MS, () => this.#nextWindow());
  }

  #nextWindow(): void {
    this.#windowOpen = false;
    const before = this.#accounts;
    // A new map each time: one from which is deleted copies itself (see `NumberedTable`).
    this.#accounts = new Map();
    for (const [id, account] of before) {
      // A node that does not keep up makes them wait too: that is not the module's doing.
      const isOver = account.spent >= ALLOWANCE && (account.waiting !== null || account.lostLines > 0);
      account.overrun = isOver ? account.overrun + 1 : 0;
      account.spent = 0;
      this.#settle(account);
      if (account.overrun === FLOOD_WINDOWS) this.#flooded(account.location, account.module);
      if (account.waiting !== null || account.lostLines > 0 || account.overrun > 0) this.#accounts.set(id, account);
    }
    if (this.#accounts.size > 0) this.#openWindow();
  }

  #settle(account: Account): void {
    const { waiting } = account;
    if (waiting !== null) {
      for (const [key, message] of waiting) {
        if (!this.#mayReport(account)) return;
        waiting.delete(key);
        this.#report(account, message);
      }
      account.waiting = null;
    }
    if (account.lostLines === 0 || !this.#mayReport(account)) return;
    const { location, module, lostLines } = account;
    account.lostLines = 0;
    this.#report(account, { t: 'log', location, module, level: 'warn', message: `${lostLines} log lines were dropped` });
  }

  #mayReport({ spent }: Account): boolean {
    return spent < ALLOWANCE && this.#pipe.bufferedBytes() <= CONGESTED;
  }

  #report(account: Account, message: FromHost): void {
    account.spent += 1;
    this.#pipe.send(message, message.t === 'status' ? 'soon' : 'now');
  }
}
