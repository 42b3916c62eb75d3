import { HoldfastError } from '../shared/model/errors.ts';
import type { EdgeEnrolment, RolloutAccess } from '../shared/runtime/node.ts';

export const masterOnly = (action: string): HoldfastError => new HoldfastError('MASTER_ONLY', { action });

export const noEnrolment: EdgeEnrolment = {
  add: () => Promise.reject(masterOnly('adding an edge')),
  rotate: () => Promise.reject(masterOnly('rotating a secret')),
  revoke: () => Promise.reject(masterOnly('revoking an edge')),
};

export const noRollouts: RolloutAccess = {
  list: () => [],
  start: () => Promise.reject(masterOnly('a roll-out')),
  cancel: () => Promise.reject(masterOnly('a roll-out')),
};
