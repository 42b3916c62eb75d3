import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from 'vitest';
import { connect, fileStorage, HoldfastError, movePublishedClient, routes, type Session, type SessionState } from '../../src/client-sdk/index.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { later, startFederation, type TestFederation } from '../support/federation.ts';
import { setUpPanel } from '../support/published-client.ts';

/** The client SDK while control moves: real processes, killed, stopped and started again. */

const scope = new Scope();
let world: TestFederation;
/** Never two holders, also where an edge starts so slowly that it would claim alone: what the loser of the two set is not promised. */
const site = { id: 'berlin', name: 'Berlin', policy: 'exclusive', timezone: 'Europe/Berlin' } as const;
beforeAll(async () => {
  world = await startFederation(scope, { timeoutSeconds: 15, sites: [site] });
}, 180_000);
afterAll(async () => {
  await scope.close();
});

const volume = { system: 'sys-berlin', module: 'Display', index: 1, name: 'volume' };
const edgeOrigin = (): string => world.federation.edge('berlin')?.origin ?? '';

/** An application that counts on a device: it sets the next number, and goes on when it has seen it. */
class Counter {
  readonly session: Session;
  readonly states: SessionState[] = [];
  readonly seen: unknown[] = [];
  readonly answered: number[] = [];
  /** Their answer was lost, or they were refused. Numbers with `fate` unknown may have run. */
  readonly failed: { number: number; fate: unknown; problem: string }[] = [];
  /** Answered, but the value did not come; and who knew it by then. */
  readonly untold: { number: number; state: SessionState; known: unknown }[] = [];
  readonly #over = new AbortController();
  readonly #running: Promise<void>;

  constructor(session: Session, first: number) {
    this.session = session;
    session.onState((state) => void this.states.push(state));
    session.bind(volume, (value) => void this.seen.push(value));
    this.#running = this.#count(first);
  }

  /** Some more numbers get through. */
  async goesOn(): Promise<void> {
    const enough = this.answered.length + 5;
    await expect.poll(() => this.answered.length, { timeout: 30_000, message: `it goes on; failed: ${JSON.stringify(this.failed)}` }).toBeGreaterThan(enough);
  }

  async stop(): Promise<void> {
    this.#over.abort();
    await this.#running;
    this.session.close();
  }

  async #count(first: number): Promise<void> {
    for (let next = first; !this.#over.signal.aborted; next += 1) {
      try {
        expect(await this.session.exec({ ...volume, name: 'set' }, ['volume', next]), 'the answer is that of this command').toBe(next);
        this.answered.push(next);
      } catch (error) {
        this.failed.push({ number: next, fate: fateOf(error), problem: String(error) });
        await later(100);
        continue;
      }
      const isTold = await vi.waitUntil(() => this.seen.at(-1) === next, { timeout: 20_000 }).catch(() => false);
      if (!isTold) this.untold.push({ number: next, state: this.session.state, known: await knownVolume() });
    }
  }
}

/** What either server takes for the value. */
async function knownVolume(): Promise<unknown> {
  const params = { id: volume.system, module: 'Display_1', key: volume.name };
  const edge = world.federation.client(edgeOrigin());
  const [atMaster, atEdge] = await Promise.all([world.client, edge].map((client) => client.call(routes.variable, { params }).catch(String)));
  edge.close();
  return { atMaster, atEdge };
}

const count = async (first: number, origin = edgeOrigin()): Promise<Counter> => {
  const storage = fileStorage(join(world.federation.dataDir, `members-${first}`));
  const session = await connect({ origins: [origin], apiKey: world.federation.apiKey, storage });
  const counter = new Counter(session, first);
  onTestFinished(() => counter.stop());
  return counter;
};

/** Of an error that is not ours, it would be a fault that there is none. */
const fateOf = (error: unknown): unknown => (error instanceof HoldfastError ? (error.facts['fate'] ?? 'refused') : error);

/** What the devices were told, byte by byte. */
function toldToDevices(): string {
  const lines = readFileSync(join(world.federation.dataDir, 'devices-berlin.jsonl'), 'utf8').trim().split('\n');
  const bytes = lines.map((line) => JSON.parse(line) as { event: string; data: string }).filter(({ event }) => event === 'data').map(({ data }) => data);
  return bytes.join('');
}

/** The numbers of one counter. */
function numbersTold(from: number): number[] {
  return [...toldToDevices().matchAll(/set volume (\d+)/g)].map(([, number]) => Number(number)).filter((number) => number >= from && number < from + 10_000);
}

/** What was answered ran exactly once, what was lost at most once, and of the values none was missed or told twice. */
function judge({ seen, answered, failed, untold }: Counter, from: number): void {
  const told = numbersTold(from);
  const mayHaveRun = failed.filter(({ fate }) => fate === 'unknown').map(({ number }) => number);
  const numbers = seen.filter((value): value is number => typeof value === 'number' && value >= from);
  expect(answered.length + failed.length, 'each command ended once').toBe(new Set([...answered, ...failed.map(({ number }) => number)]).size);
  expect(told, 'no command ran twice, none out of order').toEqual([...new Set(told)].toSorted((a, b) => a - b));
  expect(failed.filter(({ fate }) => typeof fate !== 'string'), 'each failure says what became of the command').toEqual([]);
  // That is: what was said not to have run did not, and the device was told nothing that nobody asked for.
  expect(told.filter((number) => !mayHaveRun.includes(number)), 'what was answered had run, of the rest only what may have').toEqual(answered);
  expect(numbers, 'no value was told twice, none out of order').toEqual([...new Set(numbers)].toSorted((a, b) => a - b));
  expect(untold, 'each value came in time').toEqual([]);
  // A number that its server took along when it died never was a value; all others came, and nothing else.
  expect(numbers.filter((number) => !mayHaveRun.includes(number)), 'each value was told, and none that was not set').toEqual(answered);
  expect(seen.slice(seen.indexOf(numbers[0])).includes(null), 'no value was forgotten').toBe(false);
}

it('starts on the edge, loses it, goes on at the master, and comes back in the restore window', async () => {
  const { federation } = world;
  const counter = await count(10_000);
  await counter.goesOn();
  expect(counter.session.state).toMatchObject({ origin: edgeOrigin(), servedBy: 'edge', stale: false, problem: null });

  // The device works at it when the edge dies.
  const lost = counter.session.exec({ ...volume, name: 'slow' }, [4_321]).catch(fateOf);
  await expect.poll(toldToDevices).toContain('slow 4321');
  federation.edge('berlin')?.process.signal('SIGKILL');
  expect(await lost).toBe('unknown');
  // Until the master drives, nobody knows what the devices are.
  await expect.poll(() => counter.session.state, { timeout: 10_000 }).toMatchObject({ origin: federation.master.origin, servedBy: 'master', stale: true });
  await world.until('berlin', { holder: 'master', state: 'holding', reason: 'edge-lost' }, 60_000);
  await expect.poll(() => counter.session.state, { timeout: 10_000 }).toMatchObject({ origin: federation.master.origin, stale: false });
  await counter.goesOn();

  await federation.restartEdge('berlin');
  await world.until('berlin', { holder: 'master', state: 'waiting-window' });
  await world.client.call(routes.windowOpen, { params: { id: 'berlin' }, body: { seconds: 120 } });
  await world.until('berlin', { holder: 'edge', state: 'standby' }, 60_000);
  await expect.poll(() => counter.session.state, { timeout: 10_000 }).toMatchObject({ origin: edgeOrigin(), servedBy: 'edge', stale: false });
  await counter.goesOn();
  await counter.stop();
  judge(counter, 10_000);
  expect(toldToDevices().match(/slow 4321/g), 'the command whose answer was lost ran once').toHaveLength(1);
  // The way back was a redirect: there was a server all the time.
  expect(counter.states.filter(({ origin }) => origin === null).length).toBeLessThanOrEqual(3);
}, 240_000);

it('is sent on by a server that stops in good order, before its socket closes', async () => {
  const { federation } = world;
  const counter = await count(20_000);
  await counter.goesOn();
  await federation.edge('berlin')?.process.stop();
  await expect.poll(() => counter.session.state, { timeout: 10_000 }).toMatchObject({ origin: federation.master.origin, servedBy: 'master' });
  await world.until('berlin', { holder: 'master', state: 'holding' }, 60_000);
  await counter.goesOn();
  await federation.restartEdge('berlin');
  await world.until('berlin', { holder: 'edge', state: 'standby' }, 60_000);
  await expect.poll(() => counter.session.state.origin, { timeout: 10_000 }).toBe(edgeOrigin());
  await counter.goesOn();
  await counter.stop();
  judge(counter, 20_000);
}, 240_000);

it('moves the published client, which keeps its bindings', async () => {
  const { federation } = world;
  const { client, options } = await setUpPanel({ origin: edgeOrigin(), apiKey: federation.apiKey });
  const session = await connect({ origins: [edgeOrigin()], apiKey: federation.apiKey });
  onTestFinished(() => session.close());
  session.bind({ ...volume, name: 'connected' }, () => undefined);
  onTestFinished(movePublishedClient(session, { setup: client.setup, options }));
  const seen: unknown[] = [];
  client.getModule('sys-berlin', 'Display', 1).variable('volume').bindThenSubscribe((value) => void seen.push(value));
  const set = (value: number): Promise<unknown> => client.execute({ sys: 'sys-berlin', mod: 'Display', index: 1, name: 'set', args: ['volume', value] });
  await set(30_001);
  await expect.poll(() => seen.at(-1)).toBe(30_001);

  // Orders move nothing but the REST calls: the old socket is served by proxy.
  await world.client.call(routes.takeover, { params: { id: 'berlin' }, body: {} });
  await expect.poll(() => session.state, { timeout: 10_000 }).toMatchObject({ servedBy: 'master', stale: false });
  await expect.poll(() => client.apiEndpoint(), { timeout: 10_000 }).toBe(`${federation.master.origin}/api/engine/v2`);
  await set(30_002);
  await expect.poll(() => seen.at(-1)).toBe(30_002);

  federation.edge('berlin')?.process.signal('SIGKILL');
  await expect.poll(() => set(30_003).catch(() => null), { timeout: 30_000 }).toBe(30_003);
  await expect.poll(() => seen.at(-1), { timeout: 20_000 }).toBe(30_003);
}, 240_000);
