import type { Epoch, Holder, Party } from '../model/control.ts';

export const EPOCH_ZERO: Epoch = Object.freeze({ generation: 0, number: 0 });

/** Negative when `a` is older than `b`, 0 when equal. */
export function compareEpochs(a: Epoch, b: Epoch): number {
  return a.generation - b.generation || a.number - b.number;
}

export const isOlder = (a: Epoch, b: Epoch): boolean => compareEpochs(a, b) < 0;
export const sameEpoch = (a: Epoch, b: Epoch): boolean => compareEpochs(a, b) === 0;
export const maxEpoch = (a: Epoch, b: Epoch): Epoch => (isOlder(a, b) ? b : a);

/** The edge takes even numbers and the master odd ones, so that one epoch has one holder also across a partition. */
export function nextEpoch(party: Party, floor: Epoch): Epoch {
  const parity = party === 'edge' ? 0 : 1;
  const step = floor.number % 2 === parity ? 2 : 1;
  return { generation: floor.generation, number: floor.number + step };
}

/** Who may have taken this epoch; number 0 was taken by nobody. */
export function partyOf(epoch: Epoch): Holder {
  if (epoch.number === 0) return 'none';
  return epoch.number % 2 === 0 ? 'edge' : 'master';
}

export const formatEpoch = (epoch: Epoch): string => `${epoch.generation}.${epoch.number}`;
