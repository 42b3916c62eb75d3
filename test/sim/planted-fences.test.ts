import { describe, expect, it } from 'vitest';
import { fencesWith, type PlantedFault } from '../support/planted-fault.ts';
import * as fences from './support/fences.ts';

type Situation = keyof typeof fences;
const situations = Object.entries(fences) as [Situation, (typeof fences)[Situation]][];

const linkFence = 'shared/runtime/peer/link-fence.ts';
const isCurrent = 'return ep === null || !isOlder(ep, this.#options.floor());';
const board = { file: 'shared/runtime/status/status-board.ts', from: 'if (floor !== undefined && isOlder(status.epoch, floor)) {', to: 'if (status.location === "") {' };

const planted: (PlantedFault & { situation: Situation })[] = [
  { name: 'commands of an older epoch pass the link', situation: 'lateCommand', file: linkFence, from: isCurrent, to: 'return true;' },
  { name: 'orders of an older epoch pass the link', situation: 'lateOrder', file: 'shared/runtime/peer/peer-link.ts', from: '!isClaim(message.t) && isOlder(message.epoch, this.#options.floor())', to: 'message.negotiation < 0' },
  { name: 'commands of an older epoch reach the devices', situation: 'lateWrite', file: 'shared/control/write-gate.ts', from: "if (order < 0) return 'stale-epoch';", to: '' },
  // Behind the link stands the board.
  { name: 'values of an older epoch are shown', situation: 'lateStatus', file: linkFence, from: isCurrent, to: 'return true;', also: board },
  { name: 'the journal takes an older epoch', situation: 'reorderedJournal', file: 'shared/adapters/store-memory/memory-journal.ts', from: 'if (stored === undefined || !(isOlder(epoch, stored.epoch) || isOlder(floor, stored.floor))) return null;', to: 'if (stored === undefined || stored.location !== "") return null;' },
  { name: 'a change on top of an older version is taken', situation: 'lostUpdate', file: 'shared/runtime/documents/document-table.ts', from: 'if (actual !== change.expect) throw', to: 'if (id === "") throw' },
];

describe('each fence keeps out what is over', () => {
  it.each(situations)('%s', async (_, play) => {
    expect(await play()).toBeNull();
  });
});

describe('a fence that is left out shows', () => {
  it.each(planted)('$name', async ({ situation, ...fault }) => {
    const broken = await fencesWith(fault);
    expect(await broken[situation]()).not.toBeNull();
  });

  it('and each situation has one', () => {
    expect(new Set(planted.map(({ situation }) => situation))).toEqual(new Set(situations.map(([name]) => name)));
  });
});
