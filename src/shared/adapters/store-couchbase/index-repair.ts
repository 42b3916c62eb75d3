import { placeOf } from '../../runtime/documents/document-table.ts';
import type { CommitLog } from './commit-log.ts';
import { inParallel } from './in-parallel.ts';
import type { Kv, Read } from './kv.ts';
import { fromContent, indexKey, indexSchema, type LogHead, ROOT_KEY, rootSchema, sequenceOf } from './layout.ts';

export interface IndexDifference {
  index: string;
  /** Documents that belong there and are not listed: a server that starts now does not see them. */
  missing: string[];
  /** Listed, and not there or elsewhere. */
  surplus: string[];
}

export interface IndexReport {
  documents: number;
  differences: IndexDifference[];
  /** Documents that no schema takes. */
  damaged: string[];
}

interface Comparison {
  report: IndexReport;
  head: LogHead;
  /** Of the indexes that differ: what they are to list, and what is there now. */
  wanted: Map<string, { ids: Record<string, number>; found: Read | null }>;
}

/**
 * Compares the indexes with the documents, which a scan finds without them. null: there is no log, or servers are writing,
 * so that the two cannot be compared now.
 */
async function compare(kv: Kv, log: CommitLog): Promise<Comparison | null> {
  const head = await log.head();
  if (head === null || (await log.read(head.generation, head.written + 1)) !== null) return null;
  const root = rootSchema.safeParse((await kv.get('indexes', ROOT_KEY))?.content ?? {});
  const wanted = new Map<string, Record<string, number>>();
  const damaged: string[] = [];
  const ids = await kv.keys('documents');
  await inParallel(ids, async (id) => {
    const content = (await kv.get('documents', id))?.content;
    const parsed = fromContent(id, content);
    if ('problem' in parsed) return void damaged.push(`document ${id}: ${parsed.problem}`);
    const key = indexKey(placeOf(parsed.document), id);
    wanted.set(key, { ...wanted.get(key), [id]: sequenceOf(content, head.generation) });
  });
  const named = new Set(root.success ? Object.keys(root.data) : []);
  const differing: Comparison['wanted'] = new Map();
  const differences = await inParallel(new Set([...named, ...wanted.keys()]), async (key): Promise<IndexDifference> => {
    const found = await kv.get('indexes', key);
    const index = indexSchema.safeParse(found?.content);
    // An index that the root does not name is not read.
    const listed = index.success && named.has(key) ? Object.keys(index.data.ids) : [];
    const there = wanted.get(key) ?? {};
    const missing = Object.keys(there).filter((id) => !listed.includes(id));
    const difference = { index: key, missing, surplus: listed.filter((id) => !Object.hasOwn(there, id)) };
    if (difference.missing.length + difference.surplus.length > 0 || (found !== null && !index.success)) differing.set(key, { ids: there, found });
    return difference;
  });
  const after = await log.head();
  if (after?.written !== head.written || after.generation !== head.generation) return null;
  const report = { documents: ids.length, differences: differences.filter(({ index }) => differing.has(index)), damaged };
  return { report, head, wanted: differing };
}

/** What differs. null: it cannot be told now. */
export const checkIndexes = async (kv: Kv, log: CommitLog): Promise<IndexReport | null> => (await compare(kv, log))?.report ?? null;

/** Writes the indexes that differ anew. Servers may run, but must not be writing at this moment: null. */
export async function repairIndexes(kv: Kv, log: CommitLog): Promise<IndexReport | null> {
  const compared = await compare(kv, log);
  if (compared === null) return null;
  const { report, head, wanted } = compared;
  for (const [key, { ids, found }] of wanted) {
    await kv.mutate('indexes', ROOT_KEY, [{ path: `\`${key}\``, value: 1 }], null);
    const content = { generation: head.generation, commit: head.written, ids };
    const done = found === null ? await kv.insert('indexes', key, content) : await kv.replace('indexes', key, content, found.cas);
    // A server has written it meanwhile.
    if (!done) return null;
  }
  return report;
}
