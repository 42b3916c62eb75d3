import type { Timeline } from './timeline.ts';

interface Line {
  atMs: number;
  who: string;
  what: string;
  facts: object;
}

const KEPT = 400;

/** What happened last, for people; the hash of everything is the timeline's. */
export class Trace {
  readonly #timeline: Timeline;
  #lines: Line[] = [];

  constructor(timeline: Timeline) {
    this.#timeline = timeline;
  }

  add(who: string, what: string, facts: object): void {
    this.#timeline.mix(who);
    this.#timeline.mix(what);
    this.#lines.push({ atMs: this.#timeline.nowMs, who, what, facts });
    if (this.#lines.length > 2 * KEPT) this.#lines = this.#lines.slice(-KEPT);
  }

  last(count: number): string[] {
    return this.#lines.slice(-count).map(({ atMs, who, what, facts }) => {
      const time = `${(atMs / 1_000).toFixed(3).padStart(9)}s`;
      return `${time} ${who.padEnd(9)} ${what} ${show(facts)}`.trimEnd();
    });
  }
}

function show(facts: object): string {
  return Object.entries(facts)
    .map(([key, value]) => `${key}=${value instanceof Error ? value.message : typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
    .join(' ');
}
