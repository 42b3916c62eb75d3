import type { Epoch, Holder, Terms } from '../model/control.ts';
import { maxEpoch, sameEpoch } from './epoch.ts';
import type { ControlSnapshot } from './messages.ts';

/** What a control machine must find again after a crash. The runner adds location and wall time for the journal. */
export interface Durable {
  /** Taken last by this node for itself. */
  epoch: Epoch;
  /** Highest heard of; never below `epoch`. */
  floor: Epoch;
  holder: Holder;
  reason: string;
  terms: Terms;
}

/**
 * What to do when the journal cannot be written.
 * `refuse`: the step did not happen (nobody gains control without having stored it).
 * `go-on`: giving control up must not depend on a disk.
 */
export interface Persist {
  record: Durable;
  onFailure: 'refuse' | 'go-on';
}

/** Less authority, never more: done before anything is stored, so that a slow disk cannot prolong dual control. */
export type AtOnce = { type: 'close-gate' };

export type Action<TimerName extends string> =
  | { type: 'start-modules'; run: number; epoch: Epoch; snapshot: ControlSnapshot | null }
  | { type: 'stop-modules'; run: number; deadlineMs: number }
  | { type: 'restamp'; epoch: Epoch }
  | { type: 'set-lease'; untilMs: number | null }
  | { type: 'set-timer'; timer: TimerName; atMs: number }
  | { type: 'clear-timer'; timer: TimerName }
  | { type: 'close-link'; link: number; reason: string };

/** Stored before sent, sent before run: the order is part of the type. */
export interface Effects<Message, TimerName extends string> {
  atOnce: AtOnce[];
  persist: Persist | null;
  thenSend: { link: number; message: Message }[];
  thenRun: Action<TimerName>[];
}

export interface Step<State, Message, TimerName extends string> {
  state: State;
  effects: Effects<Message, TimerName>;
  /** A stable word: logged, stored in the history, shown in status. */
  reason: string;
}

/** Facts about modules, disks and what else comes over a link, the same on both sides. */
export type ShellEvent =
  | { type: 'modules-started'; nowMs: number; run: number }
  | { type: 'modules-failed'; nowMs: number; run: number }
  | { type: 'modules-stopped'; nowMs: number; run: number; snapshot: ControlSnapshot | null }
  | { type: 'epoch-heard'; nowMs: number; link: number; epoch: Epoch }
  | { type: 'journal-failed'; nowMs: number; link: number | null };

export const isExclusive = (terms: Terms): boolean => terms.failover && terms.policy === 'exclusive';

export const sameTerms = (a: Terms, b: Terms): boolean =>
  a.failover === b.failover && a.policy === b.policy && a.timeoutMs === b.timeoutMs && a.paused === b.paused;

export const sameDurable = (a: Durable, b: Durable): boolean =>
  sameEpoch(a.epoch, b.epoch) && sameEpoch(a.floor, b.floor) && a.holder === b.holder && a.reason === b.reason && sameTerms(a.terms, b.terms);

/** ◆ A claim of the other side raises the floor, whoever is right; so does what it reports or asks for. */
export const hear = (durable: Durable, epoch: Epoch): Durable => ({ ...durable, floor: maxEpoch(durable.floor, epoch) });

export const take = (durable: Durable, epoch: Epoch, holder: Holder, reason: string): Durable => ({
  ...durable,
  epoch,
  floor: maxEpoch(durable.floor, epoch),
  holder,
  reason,
});
