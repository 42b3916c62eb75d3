import type { RequestHeaders } from './auth.ts';

export interface CredentialText {
  id: string;
  secret: string;
}

/** Names in a query and in cookies, as published clients have them. */
const NAMES = ['api-key', 'bearer_token'] as const;

/**
 * `<id>.<secret>`, of a key or a token: from `X-API-Key`, `Authorization: Bearer`, the query, or, if `withCookies`, a cookie;
 * the first that is there counts. Secrets hold no dot, ids may. null: there is none, or it has another form.
 */
export function credentialIn(headers: RequestHeaders, query: unknown, withCookies: boolean): CredentialText | null {
  const text = inHeaders(headers) ?? inQuery(query) ?? (withCookies ? inCookies(headers['cookie']) : undefined);
  const dot = text?.lastIndexOf('.') ?? -1;
  if (text === undefined || dot < 1 || dot === text.length - 1 || text.length > 300) return null;
  return { id: text.slice(0, dot), secret: text.slice(dot + 1) };
}

function inHeaders(headers: RequestHeaders): string | undefined {
  const { 'x-api-key': key, authorization } = headers;
  if (typeof key === 'string') return key;
  return typeof authorization === 'string' ? /^Bearer +(\S+)$/i.exec(authorization)?.[1] : undefined;
}

function inQuery(query: unknown): string | undefined {
  if (typeof query !== 'object' || query === null) return undefined;
  const given = new Map<string, unknown>(Object.entries(query));
  return NAMES.map((name) => given.get(name)).find((value) => typeof value === 'string');
}

function inCookies(cookies: string | string[] | undefined): string | undefined {
  const pairs = (typeof cookies === 'string' ? cookies.split(';') : []).map((pair): [string, string] => {
    const [name = '', ...value] = pair.split('=');
    return [name.trim(), value.join('=').trim()];
  });
  return NAMES.map((name) => pairs.find(([candidate]) => candidate === name)?.[1]).find((value) => value !== undefined);
}
