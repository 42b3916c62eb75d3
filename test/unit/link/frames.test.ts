import { expect, it } from 'vitest';
import { EPOCH_ZERO } from '../../../src/shared/control/epoch.ts';
import { decodeFrame } from '../../../src/shared/link/frames.ts';

/** As text: who says so much need not be one of ours. */
const deep = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`;
const released = (status: string, handover: string): string =>
  `{"t":"control.released","negotiation":1,"epoch":${JSON.stringify(EPOCH_ZERO)},"reason":"test",` +
  `"snapshot":{"status":[{"module":"mod-1","key":"tree","value":${status}}],"handover":{"mod-1":${handover}}}}`;

it('a snapshot in which values are nested without end is refused, and overflows no stack', () => {
  expect(decodeFrame(released(deep(64), deep(64)))).toMatchObject({ t: 'control' });
  for (const depth of [65, 3_000, 100_000]) {
    for (const frame of [released(deep(depth), '1'), released('1', deep(depth))]) expect(decodeFrame(frame), String(depth)).toMatchObject({ t: 'invalid' });
  }
});
