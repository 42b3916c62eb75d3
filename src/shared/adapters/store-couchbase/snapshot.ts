import { rowOf, type TableRow, type TableState } from '../../runtime/documents/document-table.ts';
import type { CommitLog, LoggedCommit } from './commit-log.ts';
import { KvFailure } from './failures.ts';
import { inParallel } from './in-parallel.ts';
import type { Kv } from './kv.ts';
import { fromContent, indexSchema, type LogHead, type Owner, ROOT_KEY, rootSchema, sequenceOf } from './layout.ts';

export interface Snapshot {
  state: TableState;
  /** Behind the documents, to be committed to the table in order. */
  commits: LoggedCommit[];
  head: LogHead;
  /** What is wrong with single documents; they are left out. */
  problems: string[];
}

/**
 * Everything, by key alone: the indexes say which documents there are, and the log what has happened since. Documents may
 * be newer than the head that was read first: a commit leaves alone what has its sequence already.
 */
export async function readSnapshot(kv: Kv, log: CommitLog, owner: Owner): Promise<Snapshot> {
  for (;;) {
    const head = await log.open(owner);
    const { rows, problems } = await readRows(kv, head.generation);
    const written = await readNumbers(log, head, { from: head.first, to: head.written }, (number) => log.removalsOf(head.generation, number));
    const commits = await readNumbers(log, head, { from: head.written + 1, to: Infinity }, (number) => log.read(head.generation, number));
    // Overtaken by those who forget old commits: once more.
    if (written === null || commits === null) continue;
    const known = new Set(rows.map(({ id }) => id));
    // What was removed last stays in the feed, for edges that have not heard of it. The newest removal of an id counts.
    const removed = new Map(written.flatMap((commit) => commit.removed).filter(({ id }) => !known.has(id)).map((row) => [row.id, row]));
    // Removals that happened before the oldest commit are not known.
    const prunedTo = written[0]?.after ?? head.sequence;
    const { generation, sequence, cursor } = head;
    return { state: { generation, sequence, prunedTo, cursor, rows: [...rows, ...removed.values()] }, commits, head, problems };
  }
}

interface Found {
  rows: TableRow[];
  problems: string[];
  /** Whether there is a list of indexes. */
  rooted: boolean;
  /** Indexes that are not there, or damaged. */
  missing: string[];
  /** Documents that are not there, or older than their index says. */
  late: string[];
}

async function readRows(kv: Kv, generation: string): Promise<Found> {
  const found: Found = { rows: [], problems: [], rooted: false, missing: [], late: [] };
  const root = await kv.get('indexes', ROOT_KEY);
  found.rooted = root !== null;
  const listed = new Map<string, number>();
  await inParallel(Object.keys(rootSchema.parse(root?.content ?? {})), async (key) => {
    const index = indexSchema.safeParse((await kv.get('indexes', key))?.content);
    // Its documents are not seen; what the log still tells of them is.
    if (!index.success) return void found.missing.push(key);
    // Twice where a move between locations was cut off: the document says where it is.
    for (const [id, sequence] of Object.entries(index.data.ids)) listed.set(id, Math.max(sequence, listed.get(id) ?? 0));
  });
  await inParallel(listed, async ([id, wanted]) => {
    const document = await kv.get('documents', id);
    const sequence = sequenceOf(document?.content, generation);
    if (document === null || sequence < wanted) found.late.push(id);
    // Removed a moment ago, which the log tells, or an index is wrong, which the doctor tells.
    if (document === null) return;
    const parsed = fromContent(id, document.content);
    if ('document' in parsed) found.rows.push(rowOf(parsed.document, sequence));
    else found.problems.push(`document ${id}: ${parsed.problem}`);
  });
  for (const key of found.missing) found.problems.push(`index ${key} is missing or damaged: holdfast index rebuild`);
  return found;
}

/**
 * The same of a copy that replication fills, where each document arrives when it likes. So all commits that are kept are
 * read, and what they do not tell must have arrived as its index says. Throws KvFailure when it has not.
 */
export async function readReplicated(kv: Kv, log: CommitLog): Promise<Snapshot> {
  const head = await log.head();
  if (head === null) throw incomplete('the head of the log');
  if (head.owner !== 'master') {
    const problem = 'its documents were written by an edge: drop both scopes, make them anew, and let replication fill them';
    throw new KvFailure('refused', problem, { trouble: 'scope' });
  }
  const found = await readRows(kv, head.generation);
  const commits = await readNumbers(log, head, { from: head.first, to: Infinity }, (number) => log.read(head.generation, number));
  if (commits === null) throw incomplete('a commit');
  const told = new Set(commits.flatMap(({ changes }) => changes.map(({ id }) => id)));
  const late = found.late.find((id) => !told.has(id));
  if (late !== undefined) throw incomplete(`document ${late}`);
  // Documents from before the oldest commit are known by the indexes alone.
  if (head.first > 1 && !found.rooted) throw incomplete('the list of indexes');
  if (head.first > 1 && found.missing.length > 0) throw incomplete(`index ${found.missing.join(', ')}`);
  const { generation, sequence, cursor } = head;
  const state = { generation, sequence, prunedTo: commits[0]?.after ?? sequence, cursor, rows: found.rows };
  return { state, commits, head, problems: found.problems };
}

const incomplete = (what: string): KvFailure => new KvFailure('unreachable', `replication has not brought everything yet: ${what}`);

const AHEAD = 128;

/** Up to a number, or to the first that nobody has taken; many side by side. null: the log was shortened meanwhile. */
async function readNumbers<T>(
  log: CommitLog,
  { generation, first }: LogHead,
  { from, to }: { from: number; to: number },
  read: (number: number) => Promise<T | null>,
): Promise<T[] | null> {
  const found: T[] = [];
  for (let at = from; at <= to; at += AHEAD) {
    const page = await inParallel(Array.from({ length: Math.min(AHEAD, to - at + 1) }, (_, i) => at + i), read);
    const end = page.indexOf(null);
    for (const one of page.slice(0, end === -1 ? page.length : end)) if (one !== null) found.push(one);
    if (end !== -1) break;
  }
  const head = await log.head();
  const next = from + found.length;
  // Where one is missing that was written, it is forgotten by now.
  return head?.generation === generation && head.first <= first && (next > to || head.written < next) ? found : null;
}
