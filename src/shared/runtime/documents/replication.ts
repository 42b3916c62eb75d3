import { z } from 'zod';
import { backoffMs } from '../../foundation/backoff.ts';
import type { Json } from '../../foundation/json.ts';
import { companionsOf, disclose, type Disclosed } from '../../model/disclosure.ts';
import { type AnyDocument, documentKinds, documentSchemas, type DocumentKind } from '../../model/documents.ts';
import { HoldfastError, isLinkLoss } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { DocumentStore, FeedEntry, FeedHead } from '../../ports/document-store.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Random } from '../../ports/random.ts';
import type { Directory } from './directory.ts';

/**
 * The database travels to each edge over the link, so that an edge can boot alone. docs/link.md, "Replication".
 * The master withholds what an edge may not know, and the edge lets go of what it may not know any more.
 */

const headSchema = z.strictObject({ generation: z.string().max(100), sequence: z.int().min(0), run: z.string().max(100).optional() });
const kindSchema = z.enum(documentKinds as [DocumentKind, ...DocumentKind[]]);
const snapshotCursorSchema = z.strictObject({ kind: kindSchema, after: z.string().max(200).nullable() });
const documentSchema = z.looseObject({ type: kindSchema });

const pullAnswerSchema = z.strictObject({
  head: headSchema,
  tooOld: z.boolean(),
  entries: z.array(z.strictObject({ sequence: z.int(), id: z.string(), kind: kindSchema, document: z.unknown() })),
});
const snapshotAnswerSchema = z.strictObject({ head: headSchema, documents: z.array(documentSchema), next: snapshotCursorSchema.nullable() });

type Cursor = z.output<typeof snapshotCursorSchema>;
type SnapshotPage = z.output<typeof snapshotAnswerSchema>;

const PAGE = 500;
/** What the frame adds to the page that it carries. */
const ENVELOPE_BYTES = 1_024;
/** Both ends hold a page whole, and each costs a round trip. */
const PAGE_BYTES = 64 * 1_024 - ENVELOPE_BYTES;

export interface FeedSourceOptions {
  /** That of the edge. */
  location: string;
  store: DocumentStore;
  directory: Directory;
}

/** The master's side: answers what one edge asks of the change feed. */
export class FeedSource {
  readonly #options: FeedSourceOptions;

  constructor(options: FeedSourceOptions) {
    this.#options = options;
  }

  async serve(kind: 'replicate.pull' | 'replicate.snapshot', body: Json): Promise<Json> {
    return kind === 'replicate.pull' ? this.#pull(parse(headSchema, body)) : this.#snapshot(parse(snapshotCursorSchema.nullable(), body));
  }

  async #pull(cursor: FeedHead): Promise<Json> {
    const page = await this.#options.store.changesSince(cursor, PAGE);
    const head = headOf(page);
    if (page.tooOld || page.generation !== cursor.generation) return { head, tooOld: true, entries: [] };
    const groups = untilFull(await this.#withCompanions(page.entries));
    const last = groups.at(-1)?.at(-1);
    // More than a frame can carry has to be asked for in pages.
    if (groups.length === 1 && bytesOf(groups[0]) > limits.maxFrameBytes - ENVELOPE_BYTES) return { head, tooOld: true, entries: [] };
    // What did not fit into this frame follows with the next.
    const reached = groups.length < page.entries.length || page.entries.length === PAGE ? (last?.sequence ?? cursor.sequence) : page.sequence;
    return { head: { ...head, sequence: reached }, tooOld: false, entries: toJson(groups.flat()) };
  }

  /** Each entry behind the documents that it discloses: they have not changed, and would not come by themselves. */
  async #withCompanions(entries: readonly FeedEntry[]): Promise<FeedEntry[][]> {
    if (entries.length === 0) return [];
    const disclosed = await this.#disclosed();
    const coming = new Set(entries.map(({ id }) => id));
    return entries.map((entry) => {
      if (entry.document === null) return [entry];
      const companions = companionsOf(entry.document, disclosed, (kind, id) => this.#options.directory.find(kind, id));
      const missing = companions.filter(({ id }) => !coming.has(id) && coming.add(id));
      const group = [...missing, entry.document].map((document) => disclose(document, disclosed));
      return group.map((document) => ({ sequence: entry.sequence, id: document.id, kind: document.type, document }));
    });
  }

  async #snapshot(cursor: { kind: DocumentKind; after: string | null } | null): Promise<Json> {
    const { store } = this.#options;
    const head = await store.head();
    const from = cursor ?? { kind: documentKinds[0] ?? 'edge', after: null };
    const page = await store.list(from.kind, { limit: PAGE, ...(from.after === null ? {} : { after: from.after }) });
    const disclosed = await this.#disclosed();
    const documents = untilFull(page.map(({ document }) => disclose(document, disclosed)));
    const last = documents.at(-1);
    const nextKind = documentKinds[documentKinds.indexOf(from.kind) + 1];
    const more = last !== undefined && (documents.length < page.length || page.length === PAGE);
    const next = more ? { kind: from.kind, after: last.id } : nextKind === undefined ? null : { kind: nextKind, after: null };
    return { head: headOf(head), documents: toJson(documents), next };
  }

  /** By documents at least as new as those just read: what changes after them comes with a later page. */
  async #disclosed(): Promise<Disclosed> {
    const { directory, location } = this.#options;
    await directory.caughtUp();
    return directory.disclosedTo(location);
  }
}

/** As it travels. */
const headOf = ({ generation, sequence, run }: FeedHead) => ({ generation, sequence, ...(run === undefined ? {} : { run }) });

/** Documents are JSON; their types only name the fields. */
const toJson = (value: unknown): Json => value as Json;
const bytesOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value));

/** As many as fit into one bulk frame, at least one: what is larger travels alone. */
function untilFull<T>(items: readonly T[]): T[] {
  let bytes = 0;
  const end = items.findIndex((item) => (bytes += bytesOf(item) + 1) > PAGE_BYTES);
  return items.slice(0, end === -1 ? items.length : Math.max(1, end));
}

function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new HoldfastError('INPUT_INVALID', { field: `replicate.${issue?.path.join('.') ?? ''}`, problem: issue?.message ?? 'invalid' });
}

const parseDocument = (raw: { type: string }): AnyDocument => {
  const kind = parse(kindSchema, raw.type);
  return parse<AnyDocument>(documentSchemas[kind], raw);
};

export interface ReplicaFeedOptions {
  /** That of this edge. */
  location: string;
  clock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
  store: DocumentStore;
  /** Of the same store. */
  directory: Directory;
  request(kind: 'replicate.pull' | 'replicate.snapshot', body: Json, options: { signal: AbortSignal; timeoutMs: number }): Promise<Json>;
}

const retry = { firstMs: 500, maxMs: 10_000, factor: 2, jitter: 0.5 };

/** The edge's side: follows the master's feed while there is a link, from where it stopped. */
export class ReplicaFeed {
  readonly #options: ReplicaFeedOptions;
  #pulling = false;
  #again = false;
  #failures = 0;
  #retrying = false;

  constructor(options: ReplicaFeedOptions) {
    this.#options = options;
  }

  /** Something may be new: the link opened, or the master said so. Never throws. */
  wake(signal: AbortSignal): void {
    this.#again = true;
    if (!this.#pulling) void this.#run(signal);
  }

  async #run(signal: AbortSignal): Promise<void> {
    this.#pulling = true;
    while (this.#again && !signal.aborted) {
      this.#again = false;
      try {
        while (!(await this.#pull(signal)));
        this.#failures = 0;
      } catch (error) {
        // A bug is not a lost link: only operating errors are waited out.
        if (!(error instanceof HoldfastError)) throw error;
        if (signal.aborted) break;
        this.#options.log.warn('replication-failed', { error });
        // The next link wakes. Nothing else does when the store of this edge refused: the master does not know.
        if (!isLinkLoss(error) && !this.#retrying) void this.#retry(signal);
      }
    }
    this.#pulling = false;
  }

  async #retry(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    this.#retrying = true;
    await clock.sleep(backoffMs(retry, this.#failures, random.next()), signal).catch(() => undefined);
    this.#retrying = false;
    this.#failures += 1;
    if (!signal.aborted) this.wake(signal);
  }

  /** True when there is nothing more to pull. */
  async #pull(signal: AbortSignal): Promise<boolean> {
    const { store, request, metrics } = this.#options;
    const cursor = await store.cursor();
    if (cursor === null) return this.#takeSnapshot(signal);
    const answer = parse(pullAnswerSchema, await request('replicate.pull', headOf(cursor), { signal, timeoutMs: limits.requestMs }));
    if (answer.tooOld) return this.#takeSnapshot(signal);
    const entries = answer.entries.map(({ sequence, id, kind, document }): FeedEntry => {
      return { sequence, id, kind, document: document === null ? null : parse<AnyDocument>(documentSchemas[kind], document) };
    });
    if (entries.length > 0 || answer.head.sequence !== cursor.sequence) await store.applyFeed(await this.#mayKnow(entries), answer.head);
    metrics.set('holdfast_replication_sequence', {}, answer.head.sequence);
    return entries.length === 0;
  }

  /** The page as this edge may keep it, and what it has to let go of because of it, also of a snapshot: stored in one transaction. */
  async #mayKnow(entries: readonly FeedEntry[]): Promise<FeedEntry[]> {
    const { directory, location } = this.#options;
    await directory.caughtUp();
    const disclosed = directory.disclosedTo(location, entries);
    const sequence = entries.at(-1)?.sequence ?? 0;
    const kept = new Map<string, FeedEntry>();
    for (const document of directory.documentsWithSecrets()) {
      const allowed = disclose(document, disclosed);
      if (allowed !== document) kept.set(document.id, { sequence, id: document.id, kind: document.type, document: allowed });
    }
    for (const entry of entries) kept.set(entry.id, { ...entry, document: entry.document === null ? null : disclose(entry.document, disclosed) });
    return [...kept.values()];
  }

  /** True never: what changed while the pages travelled is pulled afterwards. */
  async #takeSnapshot(signal: AbortSignal): Promise<false> {
    const { log, store, request } = this.#options;
    const documents: AnyDocument[] = [];
    let head: FeedHead | null = null;
    let cursor: Cursor | null = null;
    do {
      const page: SnapshotPage = parse(snapshotAnswerSchema, await request('replicate.snapshot', cursor, { signal, timeoutMs: limits.requestMs }));
      head ??= page.head;
      if (page.head.generation !== head.generation) {
        log.warn('snapshot-restarted', { from: head.generation, to: page.head.generation });
        return false;
      }
      if (!isBehind(page.next, cursor)) throw new HoldfastError('INPUT_INVALID', { field: 'replicate.next', problem: 'does not go on' });
      documents.push(...page.documents.map(parseDocument));
      cursor = page.next;
    } while (cursor !== null);
    await store.replaceAll(documents, head);
    log.info('snapshot-taken', { documents: documents.length, sequence: head.sequence });
    return false;
  }
}

/** Is this page after that one? Null: past the last, or before the first. */
function isBehind(next: Cursor | null, cursor: Cursor | null): boolean {
  if (next === null || cursor === null) return true;
  const kinds = documentKinds.indexOf(next.kind) - documentKinds.indexOf(cursor.kind);
  return kinds > 0 || (kinds === 0 && next.after !== null && next.after > (cursor.after ?? ''));
}
