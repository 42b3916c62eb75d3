import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { BoundedQueue } from '../../src/shared/foundation/bounded-queue.ts';

/** What `Node --expose-gc` gives. */
function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}

it('does not keep what was taken from it: an item may be a message of megabytes', async () => {
  const queue = new BoundedQueue<object>(10);
  const pushed = [new WeakRef({}), new WeakRef({})];
  for (const item of pushed) queue.push(item.deref() ?? {});
  const waiting = {};
  queue.push(waiting);
  for (const _ of pushed) queue.shift();
  // Weak references hold until the turn ends.
  await new Promise((done) => setImmediate(done));
  garbageCollector()();
  expect(pushed.map((item) => item.deref())).toEqual([undefined, undefined]);
  expect(queue.at(0)).toBe(waiting);
});
