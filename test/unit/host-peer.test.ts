import { expect, it } from 'vitest';
import { Canceller } from '../../src/shared/foundation/cancel.ts';
import type { HostProcess, HostProcessHandler } from '../../src/shared/ports/host-process.ts';
import { HostPeer } from '../../src/shared/runtime/driver-hosts/host-peer.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { createMemoryLog } from '../support/memory-log.ts';
import { watchOutcome } from '../support/link-pipe.ts';

/** A process that hears, and answers nothing. */
function hostProcess(): { process: HostProcess; heard: object[]; end(): void } {
  const nothing = (): void => undefined;
  const heard: object[] = [];
  let handler: HostProcessHandler | null = null;
  const process: HostProcess = { pid: 1, send: (message) => void heard.push(message), flush: nothing, bufferedBytes: () => 0, listen: (given) => void (handler = given), end: nothing, kill: nothing };
  return { process, heard, end: () => handler?.ended('exit code 1', '') };
}

function makePeer() {
  const { process, heard, end } = hostProcess();
  const clock = new FakeClock();
  const nothing = (): void => undefined;
  const nobody = (): never => expect.fail('nobody asks for a system');
  const events = { status: nothing, log: nothing, refused: nothing, hide: (text: string) => text, systemOf: nobody, ended: nothing };
  return { peer: new HostPeer(process, { clock, log: createMemoryLog() }, events), clock, heard, end };
}

it('a question to a driver host that has ended is answered at once: whoever asks learnt of it too late', async () => {
  const { peer, end } = makePeer();
  const before = peer.ask({ t: 'functions', location: 'hq', module: 'mod-1' });
  end();
  expect(await before).toBeNull();
  expect(await peer.ask({ t: 'functions', location: 'hq', module: 'mod-1' })).toBeNull();
});

it('calls that a driver host does not answer are given up one by one, each a moment after its own deadline', async () => {
  const { peer, clock, heard } = makePeer();
  const epoch = { generation: 0, number: 1 };
  const call = (deadlineMs: number) =>
    watchOutcome(peer.exec({ location: 'hq', module: 'mod-1', method: 'on', args: [], user: 'ada', requestId: 'r', epoch, deadlineMs }, new Canceller().signal));
  const calls = [call(2_000), call(1_000), call(3_000)];
  const late = { code: 'DEADLINE', fate: 'unknown' };
  const outcomes = () => calls.map(({ outcome }) => outcome);
  await clock.advance(1_000);
  expect(outcomes()).toEqual(['pending', 'pending', 'pending']);
  await clock.advance(200);
  expect(outcomes()).toEqual(['pending', late, 'pending']);
  await clock.advance(1_000);
  expect(outcomes()).toEqual([late, late, 'pending']);
  await clock.advance(1_000);
  expect(outcomes()).toEqual([late, late, late]);
  expect(heard.filter((message) => 't' in message && message.t === 'cancel')).toHaveLength(3);
});
