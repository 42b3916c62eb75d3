import { describe, expect, it } from 'vitest';
import { firstSeeds } from '../../src/sim/run.ts';
import type { PlantedFault } from '../support/planted-fault.ts';
import { firstSeedThatShows } from './support/planted-sim.ts';

const gate = 'shared/control/write-gate.ts';
const shell = 'shared/runtime/location/location-shell.ts';
const runner = 'shared/runtime/location/step-runner.ts';
const link = 'shared/runtime/peer/peer-link.ts';
const requests = 'shared/link/request-table.ts';
const board = 'shared/runtime/status/status-board.ts';
const edge = 'edge/edge-node.ts';
const dialling = 'edge/dial-loop.ts';
const location = 'master/federated-location.ts';

interface PlantedInSeeds extends PlantedFault {
  /** The seed that showed it soonest when this was written. If it does not any more, others are tried. */
  tryFirst?: string;
}

/** What the pure steps cannot show: the parts around them. The others are planted in planted-faults.test.ts. */
const planted: PlantedInSeeds[] = [
  // ── Fences ──
  { name: 'writes pass a closed gate', tryFirst: '2', file: gate, from: "if (!gate.open) return 'closed';", to: '' },
  { name: 'writes go on after the end of the lease', tryFirst: '2', file: gate, from: "if (gate.leaseUntilMs !== null && nowMs >= gate.leaseUntilMs) return 'lease-ended';", to: '' },
  { name: 'control given up does not close the gate at once', tryFirst: '8', file: shell, from: "this.#options.deviceLink.closeGate(this.#options.location);\n  }", to: '}' },
  { name: 'no lease reaches the driver hosts', file: shell, from: 'deviceLink.setLease(location, action.untilMs);', to: 'deviceLink.setLease(location, null);' },
  { name: 'a re-stamp does not reach the driver hosts', tryFirst: '9', file: shell, from: 'deviceLink.restamp(location, action.epoch);', to: '' },

  // ── The order of things ──
  { name: 'messages leave before the record is stored', file: runner, from: 'this.#store(effects.persist, proceed,', to: 'for (const { link, message } of effects.thenSend) this.#options.shell.send(link, message);\n    this.#store(effects.persist, proceed,' },
  { name: 'modules start before the record is stored', file: runner, from: 'this.#store(effects.persist, proceed,', to: 'for (const action of effects.thenRun) this.#options.shell.run(action);\n    this.#store(effects.persist, proceed,' },
  { name: 'a record that was not stored counts as stored', file: runner, from: "() => settle(persist.onFailure === 'go-on' ? proceed : refuse)", to: '() => settle(proceed)' },
  { name: 'stopping is not awaited', tryFirst: '8', file: shell, from: 'const { handover } = await deviceLink.stop(location, action.deadlineMs);', to: 'const handover = {};\n    void deviceLink.stop(location, action.deadlineMs);\n    await Promise.resolve();' },
  { name: 'two events are handled at a time', tryFirst: '9', file: runner, from: 'if (this.#busy) {', to: 'if (this.#stopped) {' },

  // ── Requests ──
  { name: 'a session goes on with another process', tryFirst: '9', file: link, from: 'offer.id === known.id && offer.boot === known.peerBoot && offer.peerBoot === this.#options.bootId', to: 'offer.boot !== undefined', also: { from: "if (session.resumed && session.id !== this.#session.id) return this.#drop(socket, 'session-over');", to: '' } },
  { name: 'a command that has left is said not to have been sent', tryFirst: '8', file: requests, from: "request.fate = 'unknown'", to: "request.fate = 'not-sent'" },

  { name: 'a request has no deadline', tryFirst: '6', file: requests, from: 'deadlineMs <= nowMs).map(', to: 'deadlineMs <= nowMs - 60_000).map(' },
  { name: 'what a cut swallowed is not sent again', tryFirst: '2', file: 'shared/link/outbox.ts', from: 'this.#handedOver = this.#acked;', to: 'this.#handedOver = Math.min(this.#acked + 1, this.#lastSeq);' },

  // ── The link ──
  { name: 'a dead line is never noticed', tryFirst: '5', file: 'shared/link/heartbeat.ts', from: 'return nowMs - this.#answeredMs >= limits.linkDeadMs;', to: 'return nowMs < 0;' },
  { name: 'an attempt to dial has no deadline', tryFirst: '8', file: dialling, from: "deadline.abort(new HoldfastError('DEADLINE', { fate: 'not-sent' }));", to: '' },
  { name: 'the edge gives up dialling', tryFirst: '11', file: dialling, from: 'attempt += 1) {', to: 'attempt += 1) {\n    if (attempt > 3) return;' },
  { name: 'a failed attempt is not told to the machine', tryFirst: '4', file: edge, from: "failed: () => control.post({ type: 'dial-failed', nowMs: clock.monotonicMs() }),", to: 'failed: () => undefined,' },
  { name: 'the loss of a link is not told to the master', tryFirst: '12', file: location, from: "this.#control.post({ type: 'link-down', nowMs: this.#now(), link, lastHeardMs: this.#withoutStandstill(lastHeardMs) });", to: 'void [link, lastHeardMs];' },

  // ── Status ──
  { name: 'known values keep the epoch of the one before', tryFirst: '7', file: board, from: 'entry.epoch = epoch;', to: 'void entry;' },
  { name: 'values are not told again under a new epoch', tryFirst: '7', file: shell, from: 'for (const value of board.values(location)) tellStatus(value);', to: 'void tellStatus;' },
  { name: 'what a new holder reports is held against an epoch that could not be stored', tryFirst: '118', file: board, from: 'this.#floors.set(location, epoch);\n    for', to: 'this.raiseFloor(location, epoch);\n    for' },
  { name: 'values are not told when a link opens', tryFirst: '7', file: edge, from: 'if (this.#drives()) for (const value of this.#board.values(this.id)) sendStatus(this.#peer, value);', to: '' },
  { name: 'documents do not travel to the edge', tryFirst: '9', file: edge, from: "if (type === 'replicate.head') this.#feed?.wake(this.#scope.signal);", to: '' },
];

const SEEDS = 60;

describe('a seed shows', () => {
  it.concurrent.each(planted)('$name', async (fault) => {
    const caught = await firstSeedThatShows(fault, [fault.tryFirst ?? '1', ...firstSeeds(SEEDS)]);
    expect(caught, `${SEEDS} seeds and none shows it`).not.toBeNull();
  });
});
