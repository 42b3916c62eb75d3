import { type Place, placeOf, type TableChange } from '../../runtime/documents/document-table.ts';
import { KvFailure } from './failures.ts';
import { inParallel } from './in-parallel.ts';
import type { LoggedCommit } from './commit-log.ts';
import type { Kv, PathChange } from './kv.ts';
import { indexKey, indexSchema, ROOT_KEY, sequenceOf, toContent } from './layout.ts';

/** A mutation of paths takes 16; the number of the commit is one of them. */
const PATHS = 15;

/** The sequence of documents by id. */
export type Made = Map<string, number>;

type SequencedChange = TableChange & { sequence: number };

/** What the documents and indexes of some commits are to be in the end. */
interface Outcome {
  documents: Map<string, SequencedChange>;
  /** By index, what becomes of ids: their sequence, or null when they go. */
  indexes: Map<string, Map<string, number | null>>;
}

/**
 * Writes documents and indexes after their commits, so that others find them and a start needs no query. Doing it twice,
 * or on two nodes, changes nothing: a document has the sequence of its last change, an index the number of its last commit.
 * Only one that is made may come too late, when it was removed meanwhile and nothing is left to tell: `made` gets those.
 */
export async function writeDocuments(kv: Kv, generation: string, commits: readonly LoggedCommit[], made: Made): Promise<void> {
  const last = commits.at(-1);
  if (last === undefined) return;
  const { documents, indexes } = outcomeOf(commits);
  await inParallel(documents.values(), (change) => writeDocument(kv, generation, change, made));
  const touched = [...indexes].map(([key, ids]) => ({ key, ids }));
  await inParallel(touched, ({ key, ids }) => writeIndex(kv, { key, ids, generation, commit: last.number }));
}

function outcomeOf(commits: readonly LoggedCommit[]): Outcome {
  const documents = new Map<string, SequencedChange>();
  const indexes = new Map<string, Map<string, number | null>>();
  const file = (place: Place, id: string, sequence: number | null): void => {
    const key = indexKey(place, id);
    const ids = indexes.get(key) ?? new Map<string, number | null>();
    indexes.set(key, ids.set(id, sequence));
  };
  for (const { after, changes } of commits) {
    for (const [i, change] of changes.entries()) {
      const sequence = after + 1 + i;
      const first = documents.get(change.id);
      documents.set(change.id, { ...change, was: first === undefined ? change.was : first.was, sequence });
      if (change.was !== null) file(change.was, change.id, null);
      if (change.document !== null) file(placeOf(change.document), change.id, sequence);
    }
  }
  return { documents, indexes };
}

async function writeDocument(kv: Kv, generation: string, { id, document, was, sequence }: SequencedChange, made: Made): Promise<void> {
  const content = document === null ? null : toContent(document, generation, sequence);
  // Before the attempt: one that seems to fail may still come.
  if (content !== null) made.set(id, sequence);
  if (content !== null && was === null && (await kv.insert('documents', id, content))) return;
  for (;;) {
    const found = await kv.get('documents', id);
    if (found !== null && sequenceOf(found.content, generation) >= sequence) return;
    if (content === null) {
      if (found === null || (await kv.remove('documents', id, found.cas))) return;
    } else if (found === null ? await kv.insert('documents', id, content) : await kv.replace('documents', id, content, found.cas)) {
      return;
    }
  }
}

/** Documents that were removed while they were being made. What another change has made since is left alone. */
export async function removeOutlived(kv: Kv, generation: string, outlived: Made): Promise<void> {
  await inParallel(outlived, async ([id, sequence]) => {
    const found = await kv.get('documents', id);
    if (found !== null && sequenceOf(found.content, generation) === sequence) await kv.remove('documents', id, found.cas);
  });
}

interface IndexWrite {
  key: string;
  ids: ReadonlyMap<string, number | null>;
  generation: string;
  commit: number;
}

async function writeIndex(kv: Kv, write: IndexWrite): Promise<void> {
  const { key, ids, generation, commit } = write;
  for (;;) {
    const found = await kv.get('indexes', key);
    if (found === null) {
      if (await makeIndex(kv, write)) return;
      continue;
    }
    const parsed = indexSchema.safeParse(found.content);
    if (!parsed.success) throw new KvFailure('refused', `index ${key} is damaged: holdfast index rebuild`);
    const index = parsed.data;
    if (index.generation === generation && index.commit >= commit) return;
    const changes: PathChange[] = [];
    for (const [id, sequence] of ids) {
      const path = `ids.\`${id}\``;
      if (sequence !== null) changes.push({ path, value: sequence });
      else if (Object.hasOwn(index.ids, id)) changes.push({ path, remove: true });
    }
    let cas: typeof found.cas | null = found.cas;
    for (let at = 0; cas !== null && (at === 0 || at < changes.length); at += PATHS) {
      const more = at + PATHS < changes.length;
      // True to its commit only when all of it is there.
      const through: PathChange[] = more ? [] : [{ path: 'commit', value: commit }];
      cas = await kv.mutate('indexes', key, [...changes.slice(at, at + PATHS), ...through], cas);
    }
    if (cas !== null) return;
  }
}

/** Named by the root before it exists: an index that nobody finds would hide its documents. False: another has made it. */
async function makeIndex(kv: Kv, { key, ids, generation, commit }: IndexWrite): Promise<boolean> {
  await kv.mutate('indexes', ROOT_KEY, [{ path: `\`${key}\``, value: 1 }], null);
  const there = [...ids].flatMap(([id, sequence]): [string, number][] => (sequence === null ? [] : [[id, sequence]]));
  return kv.insert('indexes', key, { generation, commit, ids: Object.fromEntries(there) });
}
