import { afterEach, beforeEach, expect } from 'vitest';
import { Scope } from '../../src/shared/foundation/scope.ts';

/** Gives the scope of the test that runs. It is closed after it, and each of its steps must succeed. Call once per test file. */
export function testScope(): () => Scope {
  let scope = new Scope();
  beforeEach(() => {
    scope = new Scope();
  });
  afterEach(async () => {
    expect(await scope.close()).toEqual([]);
  });
  return () => scope;
}
