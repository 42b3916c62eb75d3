import { expect, it } from 'vitest';
import { Redirects } from '../../src/client-sdk/redirects.ts';
import { limits } from '../../src/shared/model/limits.ts';

it('a session that has moved often enough waits, but not for a clock that somebody has set back', () => {
  const redirects = new Redirects();
  const nowMs = Date.UTC(2026, 10, 28, 3);
  for (let i = 0; i < limits.sdkMoves; i += 1) redirects.moved(nowMs);
  expect(redirects.pauseMs(nowMs + 10_000)).toBe(limits.sdkMovesWindowMs - 10_000);
  expect(redirects.pauseMs(nowMs - 3_600_000)).toBe(0);
});
