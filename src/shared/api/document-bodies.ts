import type { z } from 'zod';
import { documentSchemas } from '../model/documents.ts';
import type { DocumentOf, SiteDocument } from '../model/documents.ts';
import { parseInput } from '../client-api/parse.ts';
import type { RequestHeaders } from './auth/auth.ts';
import type { DriverRole } from './views.ts';

type Fields = Record<string, unknown>;

/** What clients send of a document, in our words: see `clientFields` of the schemas. */
export function fieldsOf(body: Fields): Fields {
  const { version: _, edge_id, settings, role, parent_id, actions, ...fields } = body;
  if (edge_id !== undefined && fields['edge_control_id'] === undefined) fields['edge_control_id'] = edge_id === '' ? null : edge_id;
  if (settings !== undefined && !Array.isArray(settings)) fields['settings'] = settings;
  if (role !== undefined) fields['role'] = typeof role === 'number' ? roleOf(role) : role;
  if (parent_id !== undefined) fields['parent_id'] = parent_id === '' ? null : parent_id;
  if (actions !== undefined) fields['actions'] = withoutMails(actions);
  return fields;
}

/** The empty list of mails that published clients send with each trigger is no field of ours. */
function withoutMails(actions: unknown): unknown {
  if (typeof actions !== 'object' || actions === null || !('mailers' in actions)) return actions;
  const { mailers: _, ...ours } = actions;
  return ours;
}

/** 0 is SSH, which a device speaks too; what is no device and no service is logic. */
const roleOf = (number: number): DriverRole => (number <= 1 ? 'device' : number === 99 ? 'logic' : 'service');

const schemas: { readonly [K in SiteDocument['type']]: z.ZodType<DocumentOf<K>> } = documentSchemas;

export function documentOf<K extends SiteDocument['type']>(kind: K, fields: Fields): DocumentOf<K> {
  const schema: z.ZodType<DocumentOf<K>> = schemas[kind];
  return parseInput(schema, { ...fields, type: kind }, 'body');
}

/** The version that a change was made from: If-Match, or `version` in query or body. null: whatever is there. */
export function versionOf(headers: RequestHeaders, query: { version?: string | number | undefined }, body: Fields): string | null {
  const match = headers['if-match'];
  if (typeof match === 'string' && match !== '*') return match.replace(/^(?:W\/)?"(.*)"$/, '$1');
  const isGiven = (version: unknown): version is string => typeof version === 'string' && version !== '0';
  return [query.version, body['version']].find(isGiven) ?? null;
}
