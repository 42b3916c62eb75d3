import { serverRoutes as routes } from '../../client-api/server-routes.ts';
import { createApiKey, createToken, revokeCredential } from '../auth/credentials.ts';
import { answer } from './handler.ts';
import type { HandlerDeps } from './handler.ts';
import { listAll, pageOf } from '../lists.ts';
import { listHeaders } from '../reply.ts';
import { apiKeyOf, tokenOf } from '../views.ts';

export function credentialHandlers({ node: { store }, random, clock }: HandlerDeps) {
  const maker = { store, random, clock };
  return {
    keyList: answer(routes.keyList, async ({ query }) => {
      const keys = (await listAll(store, 'api_key')).map(apiKeyOf);
      const { items, total } = pageOf(keys, query, (key) => [key.id, key.name]);
      return { body: items, headers: listHeaders(routes.keyList.path, query, items.length, total) };
    }),
    keyAdd: answer(routes.keyAdd, async ({ body, note }) => {
      const made = await createApiKey(maker, body);
      note({ key: made.id, name: made.name, keyRole: made.role });
      return { body: made };
    }),
    keyRevoke: answer(routes.keyRevoke, async ({ params: { id } }) => {
      await revokeCredential(store, 'api_key', id);
      return { body: { id, revoked: true as const } };
    }),
    tokenList: answer(routes.tokenList, async ({ query }) => {
      const tokens = (await listAll(store, 'token')).map(tokenOf);
      const { items, total } = pageOf(tokens, query, (token) => [token.id, token.user]);
      return { body: items, headers: listHeaders(routes.tokenList.path, query, items.length, total) };
    }),
    tokenIssue: answer(routes.tokenIssue, async ({ body, caller, note }) => {
      const made = await createToken(maker, { ...body, issued_by: caller.id });
      note({ token: made.id, tokenUser: made.user, tokenRole: made.role, expiresAt: made.expires_at });
      return { body: made };
    }),
    tokenRevoke: answer(routes.tokenRevoke, async ({ params: { id } }) => {
      await revokeCredential(store, 'token', id);
      return { body: { id, revoked: true as const } };
    }),
  };
}
