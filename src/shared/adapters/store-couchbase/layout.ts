import { z } from 'zod';
import { idSchema } from '../../model/ids.ts';
import { type AnyDocument, documentKinds, documentSchemas, type DocumentKind } from '../../model/documents.ts';
import { privateScope } from '../../model/store-address.ts';
import type { Place } from '../../runtime/documents/document-table.ts';

/**
 * What lies where in the database. docs/couchbase.md describes the same.
 *
 * `documents`: a document under its id. `indexes`: which documents a location has. `log` in the private scope: the head,
 * and the numbered commits, which are what counts: documents and indexes are written after them.
 */
export const collections = { documents: 'documents', indexes: 'indexes', log: 'log' } as const;
export type CollectionName = keyof typeof collections;
export const scopeOf = (collection: CollectionName, scope: string): string => (collection === 'log' ? privateScope(scope) : scope);

export const HEAD_KEY = 'head';
/** Written by a master all the time: where it stands still in a copy, nothing is replicated any more. */
export const BEAT_KEY = 'beat';
export const commitKey = (generation: string, number: number): string => `commit-${generation}-${number}`;
export const partKey = (nonce: string, part: number): string => `part-${nonce}-${part}`;

/** The names of all indexes. */
export const ROOT_KEY = 'idx';
const SHARDS = 16;
export const indexKey = ({ kind, location }: Place, id: string): string => `idx-${location ?? ''}-${kind}-${shardOf(id)}`;

/** FNV-1a: spreads ids, always the same way. */
function shardOf(id: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < id.length; i += 1) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % SHARDS;
}

const countSchema = z.int().min(0);
const generationSchema = z.string().min(1).max(100);
const feedHeadSchema = z.object({ generation: z.string().max(100), sequence: countSchema });
const kindSchema = z.enum(documentKinds as [DocumentKind, ...DocumentKind[]]);

/** Servers of the other role must not write here: an edge's copy is not what its master has. */
const ownerSchema = z.enum(['master', 'edge']);
export interface Owner {
  role: z.output<typeof ownerSchema>;
  /** Of an edge: another one has other documents. null: masters share theirs. */
  location: string | null;
}

/** `written`: documents and indexes are as after this commit, whose last change has `sequence`. Commits from `first` on are kept. */
export const headSchema = z.object({
  owner: ownerSchema,
  location: idSchema.nullable().default(null),
  generation: generationSchema,
  first: countSchema,
  written: countSchema,
  sequence: countSchema,
  cursor: feedHeadSchema.nullable(),
});
export type LogHead = z.output<typeof headSchema>;

const placeSchema = z.object({ kind: kindSchema, location: idSchema.nullable() });
const changeSchema = z.object({ id: idSchema, kind: kindSchema, document: z.unknown(), was: placeSchema.nullable() });
const changesSchema = z.array(changeSchema);
/** `parts`: so many documents beside it carry the changes, which one alone could not. */
export const commitSchema = z.object({
  nonce: z.string().max(100),
  after: countSchema,
  cursor: feedHeadSchema.nullable(),
  parts: countSchema,
  changes: changesSchema,
});
export type StoredCommit = z.output<typeof commitSchema>;
export const partSchema = z.object({ changes: changesSchema });

/** `commit`: that to which it is true. The value of an id is the sequence of its last change. */
export const indexSchema = z.object({ generation: generationSchema, commit: countSchema, ids: z.record(z.string(), countSchema) });
export const beatSchema = z.object({ at: countSchema, generation: generationSchema, number: countSchema });
export const rootSchema = z.record(z.string(), z.unknown());

const versionPattern = /^(.+)-(\d{1,15})$/;

/** The sequence of a stored document; 0: another history wrote it, or nobody of us. */
export function sequenceOf(content: unknown, generation: string): number {
  if (typeof content !== 'object' || content === null || !('_version' in content) || typeof content._version !== 'string') return 0;
  const [, of, digits] = versionPattern.exec(content._version) ?? [];
  return of === generation ? Number(digits) : 0;
}

/** As it is stored: the id is the key. */
export function toContent({ id: _, ...fields }: AnyDocument, generation: string, sequence: number): object {
  return { ...fields, _version: `${generation}-${sequence}` };
}

/** Compiled when the first of its kind is read: a start reads every document. */
const schemas: Partial<Record<DocumentKind, (typeof documentSchemas)[DocumentKind]>> = {};
const schemaOf = (kind: DocumentKind): (typeof documentSchemas)[DocumentKind] => (schemas[kind] ??= z.compile(documentSchemas[kind]));

/** A document that was read: what is said of it when no schema accepts it. */
export function parseDocument(kind: unknown, raw: unknown): { document: AnyDocument } | { problem: string } {
  const known = kindSchema.safeParse(kind);
  if (!known.success) return { problem: `its type ${String(kind)} is unknown` };
  const result = schemaOf(known.data).safeParse(raw);
  if (result.success) return { document: result.data };
  const [issue] = result.error.issues;
  return { problem: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}` };
}

/** The reverse of `toContent`. */
export function fromContent(id: string, content: unknown): { document: AnyDocument } | { problem: string } {
  if (typeof content !== 'object' || content === null || !('type' in content)) return { problem: 'it has no type' };
  const { _version: _, ...fields } = content as { type: unknown; _version?: unknown };
  return parseDocument(fields.type, { ...fields, id });
}
