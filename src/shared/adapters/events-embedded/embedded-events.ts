import { existsSync, renameSync } from 'node:fs';
import { assert } from '../../foundation/assert.ts';
import { type EventKind, eventsKept, kindNames } from '../../model/events.ts';
import { limits } from '../../model/limits.ts';
import type { EventPosition, EventStore, Forgotten, KeptEvent } from '../../ports/event-log.ts';
import type { Log } from '../../ports/log.ts';
import { hasCode } from '../sqlite/sqlite.ts';
import { SqlThread, threadEntry } from '../sqlite/sql-thread.ts';
import type { EventsEngine } from './engine.ts';
import { isKnownKind, toKept, toRuns } from './entries.ts';
import type { EventsThreadOptions } from './events-thread.ts';
import type { PositionRow } from './file-kind.ts';

export interface EmbeddedEventsOptions {
  path: string;
  log: Log;
  /** How many events of a kind are kept. */
  kept?: (kind: EventKind) => number;
  /** Largest size of the file in pages of 4 KiB; a write beyond it is refused with STORE_FULL. */
  maxPages?: number;
}

/**
 * Opens the file of the events for this process alone, and makes it if it is not there. A damaged one is put aside and
 * a new one is made: nothing that decides is in it.
 *
 * Throws STORE_BUSY when another process has it, STORE_FULL, STORE_FAILED.
 */
export async function openEmbeddedEvents({ path, log, kept = eventsKept, maxPages }: EmbeddedEventsOptions): Promise<EventStore> {
  const options: EventsThreadOptions = {
    kept: Object.fromEntries(kindNames.map((kind) => [kind, kept(kind)])),
    otherwise: limits.eventEntries,
    maxPages: maxPages ?? null,
  };
  const start = (): Promise<SqlThread<EventsEngine>> => SqlThread.start<EventsEngine>(path, threadEntry(import.meta.url, 'events-thread'), options);
  try {
    return new SqliteEvents(await start(), kept);
  } catch (error) {
    if (!hasCode(error, 'STORE_DAMAGED')) throw error;
    log.warn('events-put-aside', { path: `${path}.damaged`, error });
    for (const end of ['', '-wal', '-shm', '-journal']) if (existsSync(path + end)) renameSync(path + end, `${path}.damaged${end}`);
    return new SqliteEvents(await start(), kept);
  }
}

class SqliteEvents implements EventStore {
  readonly #thread: SqlThread<EventsEngine>;
  readonly #kept: (kind: EventKind) => number;

  constructor(thread: SqlThread<EventsEngine>, kept: (kind: EventKind) => number) {
    this.#thread = thread;
    this.#kept = kept;
  }

  async load(): Promise<{ log: string; epoch: number; events: KeptEvent[]; forgotten: Forgotten }> {
    const opened = await this.#thread.write('open');
    assert(opened !== undefined, 'the file is made with its row');
    const [rows, gone] = await Promise.all([this.#thread.read('all'), this.#thread.read('forgotten')]);
    const stored = rows.flatMap((row) => (isKnownKind(row.kind) ? toKept(row, row.kind) : []));
    return { ...opened, ...this.#newest(stored, positionsOf(gone)) };
  }

  /** The oldest run that the file keeps may begin with events that are too many. */
  #newest(stored: readonly KeptEvent[], forgotten: Map<EventKind, EventPosition>): { events: KeptEvent[]; forgotten: Forgotten } {
    const over = new Map<EventKind, number>();
    for (const { kind } of stored) over.set(kind, (over.get(kind) ?? -this.#kept(kind)) + 1);
    const events = stored.filter(({ kind, epoch, sequence }) => {
      const left = over.get(kind) ?? 0;
      if (left <= 0) return true;
      over.set(kind, left - 1);
      forgotten.set(kind, { epoch, sequence });
      return false;
    });
    return { events, forgotten };
  }

  async append(events: readonly KeptEvent[], forgotten: Forgotten): Promise<void> {
    const gone = [...forgotten].map(([kind, position]): PositionRow => ({ kind, ...position }));
    await this.#thread.write('append', toRuns(events), gone);
  }

  close(): Promise<void> {
    return this.#thread.close();
  }
}

function positionsOf(rows: PositionRow[]): Map<EventKind, EventPosition> {
  const known = rows.flatMap(({ kind, epoch, sequence }): [EventKind, EventPosition][] => (isKnownKind(kind) ? [[kind, { epoch, sequence }]] : []));
  return new Map(known);
}
