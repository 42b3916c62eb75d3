import { rowOf, type TableRow, type TableState } from '../../runtime/document-table.ts';
import type { CommitLog, LoggedCommit } from './commit-log.ts';
import { inParallel } from './in-parallel.ts';
import type { Kv } from './kv.ts';
import { fromContent, indexSchema, type LogHead, ROOT_KEY, rootSchema, sequenceOf } from './layout.ts';

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
export async function readSnapshot(kv: Kv, log: CommitLog): Promise<Snapshot> {
  for (;;) {
    const head = await log.open();
    const { rows, problems } = await readRows(kv, head.generation);
    const commits = await readCommits(log, head);
    // Overtaken by those who forget old commits: once more.
    if (commits === null) continue;
    // Removals that happened before the oldest commit are not known.
    const prunedTo = commits[0]?.after ?? head.sequence;
    const written = commits.find(({ number }) => number === head.written + 1)?.after ?? head.sequence;
    return { state: { generation: head.generation, sequence: Math.max(head.sequence, written), prunedTo, cursor: head.cursor, rows }, commits, head, problems };
  }
}

async function readRows(kv: Kv, generation: string): Promise<{ rows: TableRow[]; problems: string[] }> {
  const root = rootSchema.parse((await kv.get('indexes', ROOT_KEY))?.content ?? {});
  const indexes = await inParallel(Object.keys(root), async (key) => {
    const found = await kv.get('indexes', key);
    return found === null ? [] : Object.keys(indexSchema.parse(found.content).ids);
  });
  const problems: string[] = [];
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

/** Many ahead, to the first number that nobody has taken. null: the log was shortened meanwhile. */
async function readCommits(log: CommitLog, { generation, first }: LogHead): Promise<LoggedCommit[] | null> {
  const AHEAD = 128;
  const commits: LoggedCommit[] = [];
  for (let from = first; ; from += AHEAD) {
    const page = await inParallel(Array.from({ length: AHEAD }, (_, i) => from + i), (number) => log.read(generation, number));
    const end = page.indexOf(null);
    for (const commit of page.slice(0, end === -1 ? AHEAD : end)) if (commit !== null) commits.push(commit);
    if (end === -1) continue;
    const head = await log.head();
    const next = first + commits.length;
    return head?.generation === generation && head.first <= first && head.written < next ? commits : null;
  }
}
