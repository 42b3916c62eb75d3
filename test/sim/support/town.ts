import { expect } from 'vitest';
import type { Seat } from '../../../src/sim/seat.ts';
import { type SiteOptions, World } from '../../../src/sim/world.ts';
import type { Json } from '../../../src/shared/foundation/json.ts';
import { HoldfastError } from '../../../src/shared/model/errors.ts';
import type { LocationView } from '../../../src/shared/runtime/node.ts';
import type { OrderKind } from '../../../src/shared/runtime/node.ts';

const units: Record<string, number> = { ms: 1, s: 1_000, min: 60_000 };

function milliseconds(text: string): number {
  const [, amount, unit = ''] = /^([\d.]+)(ms|s|min)$/.exec(text) ?? [];
  const factor = units[unit];
  if (amount === undefined || factor === undefined) throw new RangeError(`"${text}" is no length of time, such as 25s`);
  return Number(amount) * factor;
}

/** One node of a scenario: `t.edge('a').crash()`. */
export class Resident {
  readonly seat: Seat;
  readonly #world: World;

  constructor(world: World, seat: Seat) {
    this.#world = world;
    this.seat = seat;
  }

  boot(): void {
    this.#world.boot(this.seat);
  }

  crash(): void {
    this.#world.kill(this.seat, false);
  }

  powerCut(): void {
    this.#world.kill(this.seat, true);
  }

  shutDown(): void {
    this.#world.shutDown(this.seat);
  }

  pause(): void {
    this.seat.machine.pause();
  }

  resume(): void {
    this.seat.machine.resume();
  }

  jumpWall(time: string): void {
    this.seat.machine.jumpWall(milliseconds(time));
  }

  get disk(): Seat['disk'] {
    return this.seat.disk;
  }

  /** This node's view of a location. */
  view(location: string): LocationView | null {
    return this.seat.node?.location(location) ?? null;
  }

  async value(location: string, index = 1): Promise<Json | undefined> {
    return (await this.seat.node?.desk.statusOf({ system: `sys-${location}`, module: 'Display', index }))?.values['value'];
  }
}

/** A hand-written scenario in the simulated world; every invariant is checked while it runs. */
export class Town {
  readonly world: World;
  readonly master: Resident;

  private constructor(world: World) {
    this.world = world;
    this.master = new Resident(world, world.master);
  }

  /** Everything is up, and each edge holds its location. */
  static async settled(sites: Record<string, SiteOptions>, options: { seed?: string; drift?: number } = {}): Promise<Town> {
    const town = await Town.dark(sites, options);
    for (const seat of town.world.seats) town.world.boot(seat);
    await town.until(() => Object.keys(sites).every((id) => town.world.judge.settled(id)), '20s');
    // Documents travel, modules start.
    await town.run('2s');
    return town;
  }

  /** Nobody has booted. */
  static async dark(sites: Record<string, SiteOptions>, { seed = 'town', drift }: { seed?: string; drift?: number } = {}): Promise<Town> {
    return new Town(await World.create({ seed, sites, ...(drift === undefined ? {} : { drift }) }));
  }

  edge(id: string): Resident {
    return new Resident(this.world, this.world.site(id).seat);
  }

  link(id: string): World['sites'] extends Map<string, { line: infer L }> ? L : never {
    return this.world.site(id).line;
  }

  run(time: string): Promise<void> {
    return this.world.run(milliseconds(time));
  }

  /** Fails when it is not so within that time. Gives how long it took, in seconds. */
  async until(so: () => boolean, time: string): Promise<number> {
    const fromMs = this.world.timeline.nowMs;
    await this.world.run(milliseconds(time), so);
    expect(so(), `within ${time}:\n${this.world.trace.last(30).join('\n')}`).toBe(true);
    return (this.world.timeline.nowMs - fromMs) / 1_000;
  }

  order(location: string, kind: OrderKind, at: Resident = this.master): void {
    this.world.order(location, kind, at.seat);
  }

  /** As the master sees it, or the edge when there is no master. */
  holder(id: string): string {
    return (this.master.view(id) ?? this.edge(id).view(id))?.holder ?? 'nobody runs';
  }

  /** Who could write to the devices at this instant. */
  writers(id: string): string[] {
    const seats: [string, Seat][] = [['edge', this.world.site(id).seat], ['master', this.world.master]];
    return seats.filter(([, { hands }]) => (hands?.writesUnder(id) ?? null) !== null).map(([name]) => name);
  }

  /** A command for the first display of a location; how it ends, as `ok <value>` or `<code> <fate>`. */
  set(location: string, value: Json, at: Resident = this.master, timeoutMs = 5_000): { ended: string | null } {
    const result: { ended: string | null } = { ended: null };
    const request = { system: `sys-${location}`, module: 'Display', index: 1, method: 'set', args: [value], user: 'test', timeoutMs };
    const { node } = at.seat;
    if (node === null) throw new RangeError(`${at.seat.id} does not run`);
    node.desk.exec(request, new AbortController().signal).then(
      (answer) => {
        result.ended = `ok ${JSON.stringify(answer.value)}`;
      },
      (error: unknown) => {
        if (!(error instanceof HoldfastError)) throw error;
        result.ended = [error.code, error.facts['fate']].filter((part) => typeof part === 'string').join(' ');
      },
    );
    return result;
  }
}
