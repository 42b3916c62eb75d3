import { expect, it } from 'vitest';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { MemberOrigins } from '../../src/shared/runtime/peer/member-origins.ts';
import { memoryCredentials } from '../support/link-world.ts';
import { silentLog } from '../support/silent-log.ts';

const MASTER = 'https://master.example.org:8443';
const EDGE = 'https://edge.example.org';
const open = (credentials = memoryCredentials(), location = 'berlin') => {
  const posts: unknown[] = [];
  return { origins: new MemberOrigins({ location, credentials, log: silentLog, post: (body) => void posts.push(body) }), posts };
};

it('tells its own origin whenever the link opens, and knows the other one after it was heard', () => {
  const { origins, posts } = open();
  origins.announce();
  expect([posts, origins.own, origins.other]).toEqual([[], null, null]);
  origins.set(EDGE);
  origins.announce();
  origins.heard({ origin: MASTER });
  expect([posts, origins.own, origins.other]).toEqual([[{ origin: EDGE }, { origin: EDGE }], EDGE, MASTER]);
});

it('remembers the other one, of its location, across a restart without a link', async () => {
  const credentials = memoryCredentials();
  open(credentials).origins.heard({ origin: MASTER });
  await expect.poll(() => credentials.values.size).toBe(1);
  expect(open(credentials).origins.other).toBe(MASTER);
  expect(open(credentials, 'lisbon').origins.other).toBeNull();
});

it('takes an origin only, and goes on when it cannot be stored', async () => {
  const credentials = memoryCredentials();
  credentials.beforeWrite = () => Promise.reject(new HoldfastError('STORE_FULL', { path: 'disk' }));
  const { origins } = open(credentials);
  for (const wrong of ['javascript:alert(1)', 'https://a.example.org/path', 'https://user@a.example.org', '']) {
    expect(() => origins.heard({ origin: wrong })).toThrow('origin');
  }
  origins.heard({ origin: MASTER });
  await Promise.resolve();
  expect(origins.other).toBe(MASTER);
});

it('stores one after the other, and of many the last: who says ever others does not fill the queue of the disk', async () => {
  const credentials = memoryCredentials();
  const writes: (() => void)[] = [];
  credentials.beforeWrite = () => new Promise((resolve) => void writes.push(resolve));
  const { origins } = open(credentials);
  for (let i = 0; i < 1_000; i += 1) origins.heard({ origin: `https://edge-${i}.example.org` });
  expect([writes.length, origins.other]).toEqual([1, 'https://edge-999.example.org']);
  writes[0]?.();
  await expect.poll(() => writes.length).toBe(2);
  writes[1]?.();
  await expect.poll(() => credentials.values.get('origin/berlin')).toBe('https://edge-999.example.org');
  expect(writes).toHaveLength(2);
});
