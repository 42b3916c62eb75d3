import { z } from 'zod';
import { documentKinds, documentSchemas, type AnyDocument, type DocumentKind } from '../../model/documents.ts';
import { type DocumentRow, locationOf, PROBLEMS } from './file-kind.ts';

/** Rows as documents. Apart from the file, whose thread needs no schemas: loading their library takes longer than the rest of its start. */

export const isKind = (kind: string): kind is DocumentKind => (documentKinds as string[]).includes(kind);

/** Compiled when the first of its kind is read: a start reads every document, and this way it takes a third of the time. */
const schemas: Partial<Record<DocumentKind, (typeof documentSchemas)[DocumentKind]>> = {};
const schemaOf = (kind: DocumentKind): (typeof documentSchemas)[DocumentKind] => (schemas[kind] ??= z.compile(documentSchemas[kind]));

/** Parsed on every read too: fields that a newer version added get their defaults. */
export function parseDocument(kind: string, body: string): { document: AnyDocument } | { problem: string } {
  if (!isKind(kind)) return { problem: `its type ${kind} is unknown` };
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    return { problem: 'it is not JSON' };
  }
  const result = schemaOf(kind).safeParse(json);
  if (result.success) return { document: result.data };
  const [issue] = result.error.issues;
  return { problem: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}` };
}

/** Documents that do not say what their columns say, or that no schema accepts. */
export function documentProblems(rows: Iterable<DocumentRow>): string[] {
  const problems: string[] = [];
  for (const row of rows) {
    const problem = row.body === null ? null : documentProblem(row, row.body);
    if (problem !== null) problems.push(`document ${row.id}: ${problem}`);
    if (problems.length >= PROBLEMS) break;
  }
  return problems;
}

function documentProblem(row: DocumentRow, body: string): string | null {
  const parsed = parseDocument(row.kind, body);
  if ('problem' in parsed) return parsed.problem;
  const { document } = parsed;
  if (document.id !== row.id) return `its id is ${document.id}`;
  if (document.type !== row.kind) return `its type is ${document.type}, not ${row.kind}`;
  return locationOf(document) === row.location ? null : `it is filed under location ${row.location}`;
}
