import type { FlapTimings } from './lease.ts';

/** Flap protection: repeated link breaks suspend automatic hand-backs for a while that doubles up to a cap. */
export interface HoldDown {
  /** Monotonic times of recent breaks, at most `breaks` of them. */
  breaks: readonly number[];
  level: number;
  untilMs: number;
}

export const noHoldDown: HoldDown = { breaks: [], level: 0, untilMs: 0 };

export function noteBreak(holdDown: HoldDown, nowMs: number, flap: FlapTimings): HoldDown {
  const recent = [...holdDown.breaks.filter((at) => at > nowMs - flap.withinMs), nowMs];
  // A quiet time as long as the longest hold-down forgives what was before.
  const level = nowMs - holdDown.untilMs > flap.capMs ? 0 : holdDown.level;
  if (recent.length < flap.breaks) return { ...holdDown, breaks: recent, level };
  const lengthMs = Math.min(flap.capMs, flap.firstMs * 2 ** level);
  return { breaks: [], level: level + 1, untilMs: nowMs + lengthMs };
}

export const isHeldDown = (holdDown: HoldDown, nowMs: number): boolean => nowMs < holdDown.untilMs;
