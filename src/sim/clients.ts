import type { Json } from '../shared/foundation/json.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import type { Judge } from './judge.ts';
import type { SimRandom } from './random.ts';
import type { Seat } from './seat.ts';
import type { Site, World } from './world.ts';

interface Command {
  number: number;
  seat: Seat;
  /** Gone with the process that took it. */
  incarnation: number;
  sentMs: number;
  module: string;
  /** How long its machine had stood still by then. */
  pausedMs: number;
  timeoutMs: number;
  invoked: number;
  settled: number;
  /** `ok`, or the code of the error. */
  outcome: string;
  fate: string;
}

/** Errors that promise that the method did not run. */
const neverRan: ReadonlySet<string> = new Set(['NO_HOLDER', 'LINK_DOWN', 'LINK_BUSY', 'NOT_FOUND', 'CONTROL_CHANGING', 'NOT_READY', 'MODULE_NOT_RUNNING']);
const SLACK_MS = 2_000;

/** Applications and panels that send commands to whatever node answers them. Invariants 6 and 10 are theirs. */
export class Clients {
  readonly #world: World;
  readonly #random: SimRandom;
  readonly #commands: Command[] = [];
  /** Numbers of those that began to run, in order. */
  readonly #ran: number[] = [];
  #answered = 0;

  constructor(world: World, random: SimRandom) {
    this.#world = world;
    this.#random = random;
  }

  get sent(): number {
    return this.#commands.length;
  }

  get answered(): number {
    return this.#answered;
  }

  /** One command for a module of this site, given to the master or to the edge. */
  send(site: Site, at: Seat): void {
    const { node } = at;
    if (node === null || at.machine.paused || !node.readiness().ready) return;
    const timeoutMs = Math.round(this.#random.between(500, 15_000));
    const index = 1 + Math.floor(this.#random.next() * site.modules.length);
    const command: Command = {
      number: this.#commands.length,
      seat: at,
      incarnation: at.machine.incarnations,
      sentMs: at.machine.monotonicMs(),
      module: site.modules[index - 1] ?? '',
      pausedMs: at.machine.pausedMs,
      timeoutMs,
      invoked: 0,
      settled: 0,
      outcome: '',
      fate: '',
    };
    this.#commands.push(command);
    const request = { system: `sys-${site.id}`, module: 'Display', index, method: 'set', args: [command.number], user: 'panel', timeoutMs };
    const signal = new AbortController();
    // Now and then somebody loses patience.
    if (this.#random.chance(0.05)) at.machine.after(this.#random.between(5, 3_000), () => signal.abort(new HoldfastError('CANCELLED', { fate: 'unknown' })));
    node.desk.exec(request, signal.signal).then(
      ({ value, servedBy }) => {
        this.#settle(command, 'ok', '', value);
        const drives = ['holding', 'waiting-window'].includes(node.location(site.id)?.state ?? '');
        if (servedBy === at.id && drives) this.#checkShown(command, node.desk.knownStatus(command.module).values['value']);
      },
      (error: unknown) => {
        if (!(error instanceof HoldfastError)) throw error;
        const { fate } = error.facts;
        this.#settle(command, error.code, typeof fate === 'string' ? fate : '', null);
      },
    );
  }

  invoked(args: Json[]): void {
    const command = this.#commands[Number(args[0])];
    if (command === undefined) return;
    command.invoked += 1;
    this.#ran.push(command.number);
    if (command.invoked > 1) this.#judge.fail(`invariant 6: command ${command.number} ran twice`);
    this.#checkFate(command);
  }

  /** Nothing is open any more at a process that lives. */
  checkClosed(): void {
    for (const command of this.#commands) {
      const { seat, incarnation, settled, number } = command;
      const lives = seat.machine.incarnations === incarnation && seat.running;
      if (settled === 0 && lives) this.#judge.fail(`invariant 6: command ${number} to ${seat.id} was never answered`);
    }
  }

  get #judge(): Judge {
    return this.#world.judge;
  }

  #settle(command: Command, outcome: string, fate: string, value: Json): void {
    command.settled += 1;
    command.outcome = outcome;
    command.fate = fate;
    this.#answered += 1;
    this.#world.trace.add('client', outcome, { command: command.number, at: command.seat.id, fate });
    const { machine } = command.seat;
    const tookMs = machine.monotonicMs() - command.sentMs - (machine.pausedMs - command.pausedMs);
    if (tookMs > command.timeoutMs + SLACK_MS) {
      const late = `${Math.round(tookMs)} ms after it was sent, not within ${command.timeoutMs} ms`;
      this.#judge.fail(`invariant 6: command ${command.number} was answered ${late}`);
    }
    if (outcome === 'ok' && (command.invoked !== 1 || value !== command.number)) {
      this.#judge.fail(`invariant 6: command ${command.number} succeeded but did not run`);
    }
    this.#checkFate(command);
  }

  /** What ran later may have set another value meanwhile. */
  #checkShown({ number, seat }: Command, shown: Json | undefined): void {
    if (this.#ran.lastIndexOf(Number(shown)) >= this.#ran.lastIndexOf(number)) return;
    this.#judge.fail(`invariant 10: command ${number} was run by ${seat.id}, which shows ${JSON.stringify(shown)}`);
  }

  #checkFate({ number, invoked, settled, outcome, fate }: Command): void {
    if (settled === 0 || invoked === 0) return;
    if (!neverRan.has(outcome) && fate !== 'not-sent') return;
    this.#judge.fail(`invariant 6: command ${number} ended in ${outcome} (${fate}), which says that it did not run, but it did`);
  }
}
