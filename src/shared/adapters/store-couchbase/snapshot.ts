import { rowOf, type TableRow, type TableState } from '../../runtime/document-table.ts';
import type { CommitLog, LoggedCommit } from './commit-log.ts';
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

async function readRows(kv: Kv, generation: string): Promise<{ rows: TableRow[]; problems: string[] }> {
  const problems: string[] = [];
  const root = rootSchema.parse((await kv.get('indexes', ROOT_KEY))?.content ?? {});
  const indexes = await inParallel(Object.keys(root), async (key) => {
    const index = indexSchema.safeParse((await kv.get('indexes', key))?.content);
    if (index.success) return Object.keys(index.data.ids);
    // Its documents are not seen; what the log still tells of them is.
    problems.push(`index ${key} is missing or damaged: holdfast index rebuild`);
    return [];
  });
  // Twice where a move between locations was cut off: the document says where it is.
  const ids = new Set(indexes.flat());
  const rows = await inParallel(ids, async (id): Promise<TableRow | null> => {
    const found = await kv.get('documents', id);
    // Removed a moment ago, which the log tells, or an index is wrong, which the doctor tells.
    if (found === null) return null;
    const parsed = fromContent(id, found.content);
    if ('document' in parsed) return rowOf(parsed.document, sequenceOf(found.content, generation));
    problems.push(`document ${id}: ${parsed.problem}`);
    return null;
  });
  return { rows: rows.filter((row) => row !== null), problems };
}

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
