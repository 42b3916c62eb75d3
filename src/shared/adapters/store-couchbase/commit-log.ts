import type { Random } from '../../ports/random.ts';
import type { Commit, TableChange, TableRow } from '../../runtime/documents/document-table.ts';
import { KvFailure } from './failures.ts';
import type { Kv } from './kv.ts';
import type { Beat } from './heartbeat.ts';
import { BEAT_KEY, beatSchema, commitKey, commitSchema, HEAD_KEY, headSchema, type LogHead, type Owner } from './layout.ts';
import { parseDocument, partKey, partSchema, type StoredCommit } from './layout.ts';

/** A commit as it stands in the log. `nonce`: who wrote it can tell. */
export interface LoggedCommit extends Commit {
  number: number;
  nonce: string;
}

/** Larger commits are cut in parts: a document may have 20 MB. Estimated by the number of documents, which have at most 1 MiB by the API. */
const CHANGES_PER_PART = 2_000;

/**
 * The numbered commits of all nodes that share the documents. A commit counts once it stands under the next number, which
 * only one can take: that is all that nodes agree on, and everything else follows from it.
 */
export class CommitLog {
  readonly #kv: Kv;
  readonly #random: Random;
  readonly #replicated: boolean;

  /** `replicated`: it is read from a copy, where the parts of a commit may arrive after it: until then it is not there. */
  constructor(kv: Kv, random: Random, replicated = false) {
    this.#kv = kv;
    this.#random = random;
    this.#replicated = replicated;
  }

  /** Makes the log where there is none. */
  async open(owner: Owner): Promise<LogHead> {
    const head = (await this.head()) ?? (await this.#make(owner));
    const sameRole = head.owner === owner.role;
    if (sameRole && (head.location ?? owner.location) === owner.location) return head;
    const other = sameRole ? `the edge ${head.location}` : `the role ${head.owner}`;
    throw new KvFailure('refused', `its documents belong to ${other}: give this server a scope of its own`, { trouble: 'scope' });
  }

  async #make({ role: owner, location }: Owner): Promise<LogHead> {
    const made: LogHead = { owner, location, generation: this.#random.hex(8), first: 1, written: 0, sequence: 0, cursor: null };
    await this.#kv.insert('log', HEAD_KEY, made);
    // Whoever was first has made it.
    return (await this.head()) ?? made;
  }

  /** null: there is no log. */
  async head(): Promise<LogHead | null> {
    return toHead(await this.#kv.get('log', HEAD_KEY));
  }

  /** Head and next commit by one question each, without repetitions: for those who ask all the time. */
  async look(generation: string, next: number): Promise<{ head: LogHead | null; commit: LoggedCommit | null }> {
    const [head, commit] = await Promise.all([this.#kv.getOnce('log', HEAD_KEY), this.#kv.getOnce('log', commitKey(generation, next))]);
    return { head: toHead(head), commit: commit === null ? null : await this.#toCommit(next, commit.content) };
  }

  /** null: nobody has taken the number yet, or it is forgotten. */
  async read(generation: string, number: number): Promise<LoggedCommit | null> {
    const found = await this.#kv.get('log', commitKey(generation, number));
    return found === null ? null : this.#toCommit(number, found.content);
  }

  /** What a commit removed, of one whose other documents are written; null: as above. Cheaper, for there are many at a start. */
  async removalsOf(generation: string, number: number): Promise<{ after: number; removed: TableRow[] } | null> {
    const found = await this.#kv.get('log', commitKey(generation, number));
    if (found === null) return null;
    const stored = await this.#stored(number, found.content);
    if (stored === null) return null;
    const { after, changes } = stored;
    const rows = changes.map(({ id, kind, document }, i): TableRow | null =>
      document === null ? { id, kind, location: null, body: null, sequence: after + 1 + i } : null,
    );
    return { after, removed: rows.filter((row) => row !== null) };
  }

  /** The commit that stands under this number now: this one, or another that was first. It may be told by its nonce. */
  async append(generation: string, commit: LoggedCommit): Promise<LoggedCommit> {
    const { number, nonce, after, cursor, changes } = commit;
    const parts = changes.length > CHANGES_PER_PART ? Math.ceil(changes.length / CHANGES_PER_PART) : 0;
    for (let part = 0; part < parts; part += 1) {
      // A part of this nonce that is there already is ours.
      await this.#kv.insert('log', partKey(nonce, part), { changes: changes.slice(part * CHANGES_PER_PART, (part + 1) * CHANGES_PER_PART) });
    }
    const taken = await this.#kv.insert('log', commitKey(generation, number), { nonce, after, cursor, parts, changes: parts === 0 ? changes : [] });
    if (taken) return commit;
    const standing = await this.read(generation, number);
    if (standing === null) throw new KvFailure('uncertain', `commit ${number} is gone`);
    return standing;
  }

  beat(beat: Beat): Promise<void> {
    return this.#kv.put('log', BEAT_KEY, beat);
  }

  /** The last heartbeat of a master; null: there was none yet. */
  async heard(): Promise<Beat | null> {
    return beatSchema.safeParse((await this.#kv.getOnce('log', BEAT_KEY))?.content).data ?? null;
  }

  nonce(): string {
    return this.#random.hex(12);
  }

  /** Moves the head on; never back. `keep`: so many commits stay for those who are behind. */
  async advance(to: Pick<LogHead, 'generation' | 'written' | 'sequence' | 'cursor'>, keep: number): Promise<void> {
    for (;;) {
      const found = await this.#kv.get('log', HEAD_KEY);
      const head = toHead(found);
      if (found === null || head === null || head.generation !== to.generation || head.written >= to.written) return;
      // In strides, so that not each commit has to remove one.
      const first = to.written - head.first > keep * 1.25 ? to.written - keep : head.first;
      if (!(await this.#kv.replace('log', HEAD_KEY, { ...head, ...to, first }, found.cas))) continue;
      // Only now: nobody who reads the head looks for them any more.
      for (let number = head.first; number < first; number += 1) await this.#forget(to.generation, number);
      return;
    }
  }

  async #forget(generation: string, number: number): Promise<void> {
    const found = await this.#kv.get('log', commitKey(generation, number));
    if (found === null) return;
    const { nonce, parts } = commitSchema.parse(found.content);
    for (let part = 0; part < parts; part += 1) await this.#kv.remove('log', partKey(nonce, part), null);
    await this.#kv.remove('log', commitKey(generation, number), null);
  }

  async #toCommit(number: number, content: unknown): Promise<LoggedCommit | null> {
    const stored = await this.#stored(number, content);
    if (stored === null) return null;
    const { nonce, after, cursor, changes } = stored;
    return { number, nonce, after, cursor, changes: changes.map((change) => toChange(number, change)) };
  }

  /** With the changes of its parts. null: in a copy one has not arrived yet. */
  async #stored(number: number, content: unknown): Promise<StoredCommit | null> {
    const stored = commitSchema.safeParse(content);
    if (!stored.success) throw damaged(number, stored.error.issues[0]?.message);
    const { nonce, parts } = stored.data;
    const changes = [...stored.data.changes];
    for (let part = 0; part < parts; part += 1) {
      const found = await this.#kv.get('log', partKey(nonce, part));
      if (found === null && this.#replicated) return null;
      const read = partSchema.safeParse(found?.content);
      if (!read.success) throw damaged(number, `part ${part} is missing`);
      for (const change of read.data.changes) changes.push(change);
    }
    return { ...stored.data, changes };
  }
}

function toHead(found: { content: unknown } | null): LogHead | null {
  if (found === null) return null;
  const head = headSchema.safeParse(found.content);
  if (!head.success) throw new KvFailure('refused', `its head is damaged: ${head.error.issues[0]?.message}`, { cause: head.error });
  return head.data;
}

function toChange(number: number, { id, kind, document, was }: StoredCommit['changes'][number]): TableChange {
  if (document === null) return { id, kind, document: null, was };
  const parsed = parseDocument(kind, document);
  // Passed over it would be missing here and nowhere else.
  if ('problem' in parsed) throw damaged(number, `document ${id}: ${parsed.problem}`);
  return { id, kind, document: parsed.document, was };
}

const damaged = (number: number, problem: string | undefined): KvFailure => new KvFailure('refused', `commit ${number} cannot be read: ${problem}`);
