import { expect, it } from 'vitest';
import type { HostProcess, HostProcessHandler } from '../../src/shared/ports/host-process.ts';
import { HostPeer } from '../../src/shared/runtime/driver-hosts/host-peer.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { createMemoryLog } from '../support/memory-log.ts';

/** A process of which only the end is of interest. */
function hostProcess(): { process: HostProcess; end(): void } {
  const nothing = (): void => undefined;
  let handler: HostProcessHandler | null = null;
  const process: HostProcess = { pid: 1, send: nothing, flush: nothing, bufferedBytes: () => 0, listen: (given) => void (handler = given), end: nothing, kill: nothing };
  return { process, end: () => handler?.ended('exit code 1', '') };
}

it('a question to a driver host that has ended is answered at once: whoever asks learnt of it too late', async () => {
  const { process, end } = hostProcess();
  const nothing = (): void => undefined;
  const nobody = (): never => expect.fail('nobody asks for a system');
  const events = { status: nothing, log: nothing, refused: nothing, hide: (text: string) => text, systemOf: nobody, ended: nothing };
  const peer = new HostPeer(process, { clock: new FakeClock(), log: createMemoryLog() }, events);
  const before = peer.ask({ t: 'functions', location: 'hq', module: 'mod-1' });
  end();
  expect(await before).toBeNull();
  expect(await peer.ask({ t: 'functions', location: 'hq', module: 'mod-1' })).toBeNull();
});
