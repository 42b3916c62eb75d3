import { z } from 'zod';
import type { Json } from '../foundation/json.ts';
import { type AnyDocument, documentKinds, documentSchemas, type DocumentKind } from '../model/documents.ts';
import { HoldfastError } from '../model/errors.ts';
import { limits } from '../model/limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { DocumentStore, FeedEntry, FeedHead } from '../ports/document-store.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';

/** The database travels to each edge over the link, so that an edge can boot alone. docs/link.md, "Replication". */

const headSchema = z.strictObject({ generation: z.string().max(100), sequence: z.int().min(0) });
const kindSchema = z.enum(documentKinds as [DocumentKind, ...DocumentKind[]]);
const snapshotCursorSchema = z.strictObject({ kind: kindSchema, after: z.string().max(200).nullable() });
const documentSchema = z.looseObject({ type: kindSchema });

const pullAnswerSchema = z.strictObject({
  head: headSchema,
  tooOld: z.boolean(),
  entries: z.array(z.strictObject({ sequence: z.int(), id: z.string(), kind: kindSchema, document: z.unknown() })),
});
const snapshotAnswerSchema = z.strictObject({ head: headSchema, documents: z.array(documentSchema), next: snapshotCursorSchema.nullable() });

const PAGE = 500;

/** The master's side: answers what one edge asks of the change feed. */
export class FeedSource {
  readonly #store: DocumentStore;

  constructor(store: DocumentStore) {
    this.#store = store;
  }

  async serve(kind: 'replicate.pull' | 'replicate.snapshot', body: Json): Promise<Json> {
    return kind === 'replicate.pull' ? this.#pull(parse(headSchema, body)) : this.#snapshot(parse(snapshotCursorSchema.nullable(), body));
  }

  async #pull(cursor: FeedHead): Promise<Json> {
    const page = await this.#store.changesSince(cursor, PAGE);
    const head = { generation: page.generation, sequence: page.sequence };
    if (page.tooOld || page.generation !== cursor.generation) return { head, tooOld: true, entries: [] };
    const entries = untilFull(page.entries);
    const last = entries.at(-1);
    // What did not fit into this frame follows with the next.
    const reached = entries.length < page.entries.length || page.entries.length === PAGE ? (last?.sequence ?? cursor.sequence) : page.sequence;
    return { head: { ...head, sequence: reached }, tooOld: false, entries: toJson(entries) };
  }

  async #snapshot(cursor: { kind: DocumentKind; after: string | null } | null): Promise<Json> {
    const head = await this.#store.head();
    const from = cursor ?? { kind: documentKinds[0] ?? 'edge', after: null };
    const page = await this.#store.list(from.kind, { limit: PAGE, ...(from.after === null ? {} : { after: from.after }) });
    const documents = untilFull(page.map(({ document }) => document as AnyDocument));
    const last = documents.at(-1);
    const nextKind = documentKinds[documentKinds.indexOf(from.kind) + 1];
    const more = last !== undefined && (documents.length < page.length || page.length === PAGE);
    const next = more ? { kind: from.kind, after: last.id } : nextKind === undefined ? null : { kind: nextKind, after: null };
    return { head: { ...head }, documents: toJson(documents), next };
  }
}

/** Documents are JSON; their types only name the fields. */
const toJson = (value: unknown): Json => value as Json;

/** As many as fit into one bulk frame, at least one. */
function untilFull<T>(items: readonly T[]): T[] {
  let bytes = 0;
  const end = items.findIndex((item) => (bytes += JSON.stringify(item).length) > limits.bulkFrameBytes);
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
  clock: Clock;
  log: Log;
  metrics: Metrics;
  store: DocumentStore;
  request(kind: 'replicate.pull' | 'replicate.snapshot', body: Json, options: { signal: AbortSignal; timeoutMs: number }): Promise<Json>;
}

/** The edge's side: follows the master's feed while there is a link, from where it stopped. */
export class ReplicaFeed {
  readonly #options: ReplicaFeedOptions;
  #pulling = false;
  #again = false;

  constructor(options: ReplicaFeedOptions) {
    this.#options = options;
  }

  /** Something may be new: the link opened, or the master said so. Never throws; the next wake tries again. */
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
      } catch (error) {
        // A bug is not a lost link: only operating errors are waited out, until the next wake, which may have come already.
        if (!(error instanceof HoldfastError)) throw error;
        if (!signal.aborted) this.#options.log.warn('replication-failed', { error });
      }
    }
    this.#pulling = false;
  }

  /** True when there is nothing more to pull. */
  async #pull(signal: AbortSignal): Promise<boolean> {
    const { store, request, metrics } = this.#options;
    const cursor = await store.cursor();
    if (cursor === null) return this.#takeSnapshot(signal);
    const answer = parse(pullAnswerSchema, await request('replicate.pull', { ...cursor }, { signal, timeoutMs: limits.requestMs }));
    if (answer.tooOld) return this.#takeSnapshot(signal);
    const entries = answer.entries.map(({ sequence, id, kind, document }): FeedEntry => {
      return { sequence, id, kind, document: document === null ? null : parse<AnyDocument>(documentSchemas[kind], document) };
    });
    if (entries.length > 0 || answer.head.sequence !== cursor.sequence) await store.applyFeed(entries, answer.head);
    metrics.set('holdfast_replication_sequence', {}, answer.head.sequence);
    return entries.length === 0;
  }

  async #takeSnapshot(signal: AbortSignal): Promise<boolean> {
    const { log, store, request } = this.#options;
    const documents: AnyDocument[] = [];
    let head: FeedHead | null = null;
    let cursor: Json = null;
    do {
      const page: z.output<typeof snapshotAnswerSchema> = parse(
        snapshotAnswerSchema,
        await request('replicate.snapshot', cursor, { signal, timeoutMs: limits.requestMs }),
      );
      // The head of the first page: what changes while the pages travel is pulled afterwards.
      head ??= page.head;
      documents.push(...page.documents.map(parseDocument));
      cursor = page.next;
    } while (cursor !== null);
    await store.replaceAll(documents, head);
    log.info('snapshot-taken', { documents: documents.length, sequence: head.sequence });
    return false;
  }
}
