import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { formatEnrolment, parseEnrolment } from '../../src/shared/link/enrolment.ts';
import { limits } from '../../src/shared/model/limits.ts';
import {
  clock,
  createEdge,
  enrolledEdge,
  expectNoSecretLeaked,
  hangUp,
  memoryCredentials,
  startMaster,
  startRelay,
  type TestMaster,
} from '../support/link-world.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { tempFolders } from '../support/temp-folder.ts';

const refused = { code: 'LINK_REFUSED', facts: { reason: 'refused-by-peer' } };
const tempFolder = tempFolders();
let scope: Scope;
beforeEach(() => {
  scope = new Scope();
});
afterEach(async () => {
  expect(await scope.close()).toEqual([]);
  await expectNoSecretLeaked();
});

class Crash extends Error {}

/** The edge starts again with what was stored, and must get in within the two attempts that a settled answer needs. */
async function rebootsInto(master: TestMaster, credentials: ReturnType<typeof memoryCredentials>, enrolment: string): Promise<void> {
  credentials.beforeWrite = () => undefined;
  await hangUp(await (await createEdge(enrolment, credentials)).dial(master.address));
  // And for good: without the string, and with nothing left over that could be tried.
  const settled = await createEdge(null, credentials);
  await hangUp(await settled.dial(master.address));
  expect(await settled.identity.proofs()).toHaveLength(1);
}

describe('an enrolment string', () => {
  it('is good for one enrolment', async () => {
    const master = await startMaster(scope, tempFolder());
    const { enrolment } = await master.authority.add('berlin');
    await hangUp(await (await createEdge(enrolment)).dial(master.address));
    await expect((await createEdge(enrolment)).dial(master.address)).rejects.toMatchObject(refused);
    expect(master.refused('token-spent')).toBe(1);
  });

  it('is good for one of two edges that use it at the same moment', async () => {
    const master = await startMaster(scope, tempFolder());
    const { enrolment } = await master.authority.add('berlin');
    const edges = await Promise.all([createEdge(enrolment), createEdge(enrolment)]);
    // Both have proved the token before either is stored.
    const both: (() => void)[] = [];
    master.authority.afterClaim = () => new Promise((resolve) => both.push(resolve));
    const dials = edges.map((edge) => edge.dial(master.address));
    const outcomes = Promise.allSettled(dials);
    await expect.poll(() => both.length).toBe(2);
    master.authority.afterClaim = () => Promise.resolve();
    for (const go of both) go();
    expect((await outcomes).map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  it('is good for seven days', async () => {
    const fake = new FakeClock(clock.wallMs());
    const master = await startMaster(scope, tempFolder(), { clock: fake });
    const { enrolment } = await master.authority.add('berlin');
    await fake.advance(limits.enrolmentTokenMs - 1);
    const edge = await createEdge(enrolment);
    await hangUp(await edge.dial(master.address));
    const late = (await master.authority.add('lisbon')).enrolment;
    await fake.advance(limits.enrolmentTokenMs);
    await expect((await createEdge(late)).dial(master.address)).rejects.toMatchObject(refused);
    expect(master.refused('token-expired')).toBe(1);
  });

  it('is void when another was made for the edge', async () => {
    const master = await startMaster(scope, tempFolder());
    const first = await createEdge((await master.authority.add('berlin')).enrolment);
    const second = await createEdge((await master.authority.add('berlin')).enrolment);
    await expect(first.dial(master.address)).rejects.toMatchObject(refused);
    await hangUp(await second.dial(master.address));
  });

  it('for another edge than the data directory belongs to is refused', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolledEdge(master);
    const { enrolment } = await master.authority.add('lisbon');
    await expect(createEdge(enrolment, edge.credentials)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    expect(edge.identity.edge).toBe('berlin');
  });

  it('says what is wrong with it, and never what it was', () => {
    const good = { v: 1 as const, addresses: ['[::1]:7443', 'master.example.org:7443'], ca: 'a'.repeat(64), edge: 'berlin', token: 'b'.repeat(64), secretId: null };
    expect(parseEnrolment(formatEnrolment(good))).toEqual(good);
    const bad = [
      [formatEnrolment(good).slice(0, -9), 'cut off'],
      [formatEnrolment({ ...good, addresses: ['master'] }), 'addresses'],
      [formatEnrolment({ ...good, ca: 'short' }), 'ca'],
      [formatEnrolment({ ...good, edge: 'ber lin' }), 'edge'],
      ['enrol:x', 'holdfast-enrol:'],
    ] as const;
    for (const [text, word] of bad) {
      let message = '';
      try {
        parseEnrolment(text);
      } catch (error) {
        message = String(error);
      }
      expect(message).toContain(word);
      expect(message).not.toContain('bbbb');
    }
  });
});

describe('an enrolment that is interrupted anywhere leaves the edge a way in', () => {
  // Taking up the string, noting the offer, settling on the secret.
  it.each([0, 1, 2])('by a crash of the edge before its write %i', async (fatal) => {
    const master = await startMaster(scope, tempFolder());
    const { enrolment } = await master.authority.add('berlin');
    const credentials = memoryCredentials();
    let writes = 0;
    credentials.beforeWrite = () => {
      if (writes >= fatal) throw new Crash();
      writes += 1;
    };
    const interrupted = createEdge(enrolment, credentials).then((edge) => edge.dial(master.address));
    await expect(interrupted).rejects.toThrow();
    expect(writes).toBe(fatal);
    await rebootsInto(master, credentials, enrolment);
  });

  it('by a crash of the master before it has stored the secret', async () => {
    const master = await startMaster(scope, tempFolder());
    const { enrolment } = await master.authority.add('berlin');
    master.credentials.beforeWrite = () => {
      throw new Crash();
    };
    const credentials = memoryCredentials();
    const edge = await createEdge(enrolment, credentials);
    await expect(edge.dial(master.address)).rejects.toMatchObject({ code: 'LINK_REFUSED' });
    expect(master.refused('internal')).toBe(1);
    master.credentials.beforeWrite = () => undefined;
    await rebootsInto(master, credentials, enrolment);
  });

  it('by a cut after the master has stored the secret and before the edge hears of it', async () => {
    const master = await startMaster(scope, tempFolder());
    const { enrolment } = await master.authority.add('berlin');
    const credentials = memoryCredentials();
    const spent = (): boolean => master.log.lines.some(({ event }) => event === 'edge-enrolled');
    const relay = await startRelay(scope, master, { toEdge: (chunk) => (spent() ? null : chunk) });
    await expect((await createEdge(enrolment, credentials)).dial(relay)).rejects.toMatchObject({ code: 'LINK_REFUSED' });
    expect(spent()).toBe(true);
    await rebootsInto(master, credentials, enrolment);
    expect(master.refused('token-spent')).toBe(0);
  });

  it.each(['toMaster', 'toEdge'] as const)('by a cut after any chunk %s', async (direction) => {
    const master = await startMaster(scope, tempFolder());
    let cuts = 0;
    for (let allowed = 0; allowed < 40; allowed += 1) {
      const { enrolment } = await master.authority.add(`edge-${allowed}`);
      const credentials = memoryCredentials();
      let chunks = 0;
      const relay = await startRelay(scope, master, {
        [direction]: (chunk: Buffer) => {
          chunks += 1;
          return chunks > allowed ? null : chunk;
        },
      });
      const outcome = await (await createEdge(enrolment, credentials)).dial(relay).then(hangUp, () => 'cut');
      if (outcome === 'cut') cuts += 1;
      await rebootsInto(master, credentials, enrolment);
      if (outcome !== 'cut') break;
    }
    expect(cuts).toBeGreaterThan(5);
    expect(cuts).toBeLessThan(40);
  });

  it('a rotation too: the edge always has a secret that the master knows', async () => {
    const master = await startMaster(scope, tempFolder());
    let cuts = 0;
    for (let allowed = 0; allowed < 40; allowed += 1) {
      const edge = await enrolledEdge(master, `edge-${allowed}`);
      const { enrolment } = await master.authority.rotate(`edge-${allowed}`);
      let chunks = 0;
      const relay = await startRelay(scope, master, {
        toEdge: (chunk) => {
          chunks += 1;
          return chunks > allowed ? null : chunk;
        },
      });
      const outcome = await (await createEdge(enrolment, edge.credentials)).dial(relay).then(hangUp, () => 'cut');
      if (outcome === 'cut') cuts += 1;
      await rebootsInto(master, edge.credentials, enrolment);
      if (outcome !== 'cut') break;
    }
    expect(cuts).toBeGreaterThan(5);
  });
});
