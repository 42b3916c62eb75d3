import { SimCoverage } from './coverage.ts';
import { SETTLE_MS, type SeedReport } from './seed.ts';

export interface SimOptions {
  /** Runs one seed: in this process, or on another core. */
  play(seed: string): Promise<SeedReport>;
  seeds: readonly string[];
  /** How many at a time. */
  parallel: number;
  onProgress?(done: number, report: SeedReport): void;
  signal?: AbortSignal;
}

export interface SimReport {
  ok: boolean;
  seeds: number;
  failures: SeedReport[];
  /** What never happened. A run of `COVERING_SEEDS` or more fails for it. */
  missing: string[];
  /** Changes of state that docs/control.md does not know. */
  unknown: string[];
  simulatedMs: number;
  faults: number;
  commands: number;
  dualControlMs: number;
  settledMs: number;
  /** Of the one seed, or of all of them in their order. */
  hash: string;
}

/** So many seeds reach everything; fewer are not held to it. */
const COVERING_SEEDS = 200;

/** The first seeds, by name. */
export const firstSeeds = (count: number, first = 1): string[] => Array.from({ length: count }, (_, i) => String(first + i));

/** Plays seeds, each a history of its own; fails when one breaks an invariant or, over many, when something was never hit. */
export async function runSim(options: SimOptions): Promise<SimReport> {
  const { play, seeds, parallel, onProgress, signal } = options;
  const reports: SeedReport[] = [];
  let next = 0;
  let done = 0;
  const stopped = (): boolean => signal?.aborted ?? false;
  const lane = async (): Promise<void> => {
    while (next < seeds.length && !stopped()) {
      const at = next;
      next += 1;
      const report = await play(seeds[at] ?? '');
      reports[at] = report;
      done += 1;
      onProgress?.(done, report);
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, parallel) }, lane));
  return summarise(reports.filter((report) => report !== undefined));
}

function summarise(reports: SeedReport[]): SimReport {
  const coverage = new SimCoverage();
  for (const { hits } of reports) coverage.add(hits);
  const failures = reports.filter(({ violation }) => violation !== null);
  const missing = coverage.missing();
  const covered = missing.length === 0 || reports.length < COVERING_SEEDS;
  const unknown = coverage.unknown();
  const sum = (of: (report: SeedReport) => number): number => reports.reduce((total, report) => total + of(report), 0);
  return {
    ok: failures.length === 0 && covered && unknown.length === 0,
    seeds: reports.length,
    failures,
    missing,
    unknown,
    simulatedMs: sum(({ simulatedMs }) => simulatedMs),
    faults: sum(({ faults }) => faults),
    commands: sum(({ commands }) => commands),
    dualControlMs: sum(({ dualControlMs }) => dualControlMs),
    settledMs: reports.reduce((longest, { settledMs }) => Math.max(longest, settledMs), 0),
    hash: hashOf(reports),
  };
}

function hashOf(reports: SeedReport[]): string {
  const [only] = reports;
  if (reports.length === 1 && only !== undefined) return only.hash;
  let hash = 0x811c9dc5;
  for (const letter of reports.map((report) => report.hash).join()) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, '0');
}

/** At most so many failed seeds are told in full. */
const TOLD = 3;

export function formatSimReport(report: SimReport): string {
  const { seeds, simulatedMs, faults, commands, dualControlMs, settledMs, failures, missing, unknown, hash } = report;
  const lines = failures.slice(0, TOLD).flatMap(({ seed, violation }) => {
    if (violation === null) return [];
    const { problem, atMs, trace } = violation;
    return [...trace, '', `seed ${seed} after ${(atMs / 1_000).toFixed(3)} s: ${problem}`, `replay it: holdfast sim --seed ${seed}`, ''];
  });
  if (failures.length > TOLD) lines.push(`and ${failures.length - TOLD} more: ${failures.slice(TOLD).map(({ seed }) => seed).join(', ')}`);
  const held = seeds < COVERING_SEEDS ? ` (fewer than ${COVERING_SEEDS} seeds are not held to it)` : '';
  if (missing.length > 0 && seeds > 1) lines.push(`never hit${held}: ${missing.join(', ')}`);
  if (unknown.length > 0) lines.push(`not in docs/control.md: ${unknown.join(', ')}`);
  lines.push(
    `${seeds} ${seeds === 1 ? 'seed' : 'seeds'}, ${Math.round(simulatedMs / 60_000)} simulated minutes, ${faults} faults, ${commands} commands: ` +
      (failures.length === 0 ? 'no invariant is broken' : `${failures.length} broke an invariant`),
    `after the last fault all settled within ${Math.round(settledMs / 1_000)} s (bound ${SETTLE_MS / 1_000} s); ` +
      `dual control under \`available\`: ${Math.round(dualControlMs / 1_000)} s; hash ${hash}`,
  );
  return lines.join('\n');
}
