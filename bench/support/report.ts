import type { Load } from './load.ts';
import { median } from './statistics.ts';
import { table } from './table.ts';

/** `BENCH_RUNS=1` gives a first look. */
export const RUNS = Number(process.env['BENCH_RUNS'] ?? 3);

export const medians = (loads: readonly Load[]): Load => ({
  calls: median(loads.map(({ calls }) => calls)),
  perSecond: median(loads.map(({ perSecond }) => perSecond)),
  p50Us: median(loads.map(({ p50Us }) => p50Us)),
  p99Us: median(loads.map(({ p99Us }) => p99Us)),
  cpuUs: median(loads.map(({ cpuUs }) => cpuUs)),
});

export type Target = { atLeast: number } | { atMost: number };

export interface Figure {
  benchmark: string;
  figure: string;
  measured: number;
  target: string | null;
  met: boolean | null;
}

/** What a benchmark says: printed at once, its figures kept for the file. */
export class Report {
  readonly figures: Figure[] = [];
  readonly #benchmark: string;
  readonly #print: (text: string) => void;

  constructor(benchmark: string, print: (text: string) => void) {
    this.#benchmark = benchmark;
    this.#print = print;
  }

  table(heading: string[], rows: string[][]): void {
    this.#print(`${table([heading, ...rows])}\n`);
  }

  missing(program: string): void {
    this.#print(`${program} is not installed: those that need it are left out\n`);
  }

  target(figure: string, measured: number, target: Target): void {
    const met = 'atLeast' in target ? measured >= target.atLeast : measured <= target.atMost;
    const wanted = 'atLeast' in target ? `≥ ${target.atLeast}` : `≤ ${target.atMost}`;
    this.#note({ figure, measured, target: wanted, met });
  }

  figure(figure: string, measured: number): void {
    this.#note({ figure, measured, target: null, met: null });
  }

  #note(noted: Omit<Figure, 'benchmark'>): void {
    this.figures.push({ benchmark: this.#benchmark, ...noted });
    const { figure, measured, target, met } = noted;
    this.#print(`${figure.padEnd(72)} ${measured.toFixed(2).padStart(8)}   ${target === null ? '' : `${target.padEnd(8)} ${met === true ? 'ok' : 'missed'}`}\n`);
  }
}
