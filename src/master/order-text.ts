import type { MasterControl, MasterOrder } from '../shared/control/master-control.ts';
import type { LocationView } from '../shared/runtime/node.ts';

export function describeOrder(kind: MasterOrder, before: LocationView): string {
  switch (kind) {
    case 'takeover':
      return `control of ${before.id} moves from ${before.holder} to the master`;
    case 'handback':
      return `control of ${before.id} moves from the master to the edge`;
    case 'pause':
      return `control of ${before.id} stays where it is until it is resumed`;
    case 'resume':
      return `control of ${before.id} moves by itself again`;
  }
}

/** What the view would show after the order, for whoever wants to see it before. */
export function foresee(kind: MasterOrder, before: LocationView): LocationView {
  switch (kind) {
    case 'takeover':
      return { ...before, holder: 'master', state: 'holding', reason: 'operator-takeover' };
    case 'handback':
      return { ...before, holder: 'edge', state: 'standby', reason: 'operator-handback' };
    case 'pause':
    case 'resume':
      return { ...before, paused: kind === 'pause' };
  }
}

export function isCarriedOut(kind: MasterOrder, state: MasterControl): boolean {
  switch (kind) {
    case 'takeover':
      return state.state === 'holding';
    case 'handback':
      return state.state === 'standby';
    case 'pause':
      return state.wanted.paused;
    case 'resume':
      return !state.wanted.paused;
  }
}
