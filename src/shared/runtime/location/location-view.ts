import { parseRestoreWindow, type RestoreWindow, type WindowView } from '../../control/restore-window.ts';
import type { Durable } from '../../control/step.ts';
import type { Terms } from '../../model/control.ts';
import type { EdgeDocument } from '../../model/documents.ts';
import type { CommitReport } from '../driver-code/driver-repository.ts';
import type { LocationView } from '../node.ts';

/** Until the location document is here, nothing may be claimed without a grant. */
export const unknownTerms: Terms = { failover: true, policy: 'exclusive', timeoutMs: 20_000, paused: false };

/** What a location document asks of the negotiation; `paused` is an order, not part of the document. */
export const termsOf = (edge: EdgeDocument, paused: boolean): Terms => ({
  failover: edge.failover,
  policy: edge.policy,
  timeoutMs: edge.timeout * 1_000,
  paused,
});

/** The restore window of a document that was checked when it was applied; one that is not valid never opens. */
export function restoreWindowOf(edge: EdgeDocument): RestoreWindow | null {
  try {
    return parseRestoreWindow(edge);
  } catch {
    return null;
  }
}

export interface LocationFacts {
  document: EdgeDocument;
  /** null: only an operator hands back. */
  schedule: RestoreWindow | null;
  window: WindowView;
  durable: Durable;
  state: string;
  sinceMs: number;
  paused: boolean;
  linked: boolean;
  /** Of an edge, which dials: why it was refused last. */
  refused?: string | null;
  dueInMs: number | null;
  holdDownMs: number;
  dualControlSeconds: number;
  modules: LocationView['modules'];
  progress: LocationView['progress'];
  edited: number;
  /** null: nothing was heard of it. */
  commit: CommitReport | null;
}

const NOTHING_HEARD: CommitReport = { wanted: null, actual: null, busy: false, problem: null };

export function locationView(facts: LocationFacts): LocationView {
  const { document, durable, state, window, schedule } = facts;
  return {
    id: document.id,
    name: document.name,
    holder: durable.holder,
    epoch: durable.floor,
    reason: durable.reason,
    sinceMs: facts.sinceMs,
    state,
    policy: document.policy,
    failover: document.failover,
    timeoutSeconds: document.timeout,
    paused: facts.paused,
    link: facts.linked ? 'up' : 'down',
    refused: facts.linked ? null : (facts.refused ?? null),
    window: { open: window.open, closesMs: window.closesMs, nextMs: window.nextOpensMs, schedule },
    dueInMs: facts.dueInMs,
    holdDownMs: facts.holdDownMs,
    dualControlSeconds: facts.dualControlSeconds,
    modules: facts.modules,
    progress: facts.progress,
    edited: facts.edited,
    commit: { ...(facts.commit ?? NOTHING_HEARD), wanted: document.commit },
  };
}
