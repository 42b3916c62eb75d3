import { type RestoreWindow, windowAt, type WindowView } from './restore-window.ts';

/** What operators have ordered about the window of a location. It stands above the schedule, and changes nothing of it. */
export interface WindowOrders {
  /** Opened by order: from when until when. An occurrence like any other. */
  opened: { fromMs: number; untilMs: number } | null;
  /** The occurrence of the schedule that was ended early. */
  ended: number | null;
}

export const noWindowOrders: WindowOrders = { opened: null, ended: null };

/** Opens the window now. Each order is an occurrence of its own: a new chance after a hand-back that failed. */
export const openWindow = (orders: WindowOrders, wallMs: number, lengthMs: number): WindowOrders => ({
  ...orders,
  opened: { fromMs: wallMs, untilMs: wallMs + lengthMs },
});

/** Ends the occurrence that is open now; the next one of the schedule comes as ever. */
export function closeWindow(schedule: RestoreWindow | null, wallMs: number): WindowOrders {
  return { opened: null, ended: scheduledAt(schedule, wallMs).occurrence };
}

/** The window as it is: what was ordered, and else the schedule (null: there is none). */
export function windowUnder(schedule: RestoreWindow | null, { opened, ended }: WindowOrders, wallMs: number): WindowView {
  const scheduled = scheduledAt(schedule, wallMs);
  const view = scheduled.occurrence !== null && scheduled.occurrence === ended ? { ...scheduled, ...closed } : scheduled;
  if (opened === null || wallMs < opened.fromMs || wallMs >= opened.untilMs) return view;
  return {
    open: true,
    occurrence: Math.max(opened.fromMs, view.occurrence ?? 0),
    closesMs: Math.max(opened.untilMs, view.closesMs ?? 0),
    nextOpensMs: view.nextOpensMs,
  };
}

const closed = { open: false, occurrence: null, closesMs: null } as const;

const scheduledAt = (schedule: RestoreWindow | null, wallMs: number): WindowView =>
  schedule === null ? { ...closed, nextOpensMs: null } : windowAt(schedule, wallMs);
