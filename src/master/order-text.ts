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

function isCarriedOut(kind: MasterOrder, state: MasterControl): boolean {
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

/** The machine still works at it. */
function isUnderWay(kind: MasterOrder, state: MasterControl): boolean {
  switch (kind) {
    case 'takeover':
      return state.state === 'taking-over' || state.takeoverOrdered || state.link?.phase === 'ordered';
    case 'handback':
      return state.link?.handback === 'operator';
    case 'pause':
    case 'resume':
      return false;
  }
}

/**
 * Follows an order over the steps after it, from one to the next. One that was under way and is so no more was cut: it is
 * void (control.md, section 4), and nobody takes it up again.
 */
export function followOrder(kind: MasterOrder): (state: MasterControl) => 'open' | 'done' | 'void' {
  let begun = false;
  return (state) => {
    if (isCarriedOut(kind, state)) return 'done';
    const underWay = isUnderWay(kind, state);
    if (begun && !underWay) return 'void';
    begun ||= underWay;
    return 'open';
  };
}

export function whyVoid({ link, durable }: MasterControl): string {
  if (durable.reason === 'takeover-failed') return durable.reason;
  return link === null ? 'the link to the edge was lost first' : 'the edge connected anew first';
}
