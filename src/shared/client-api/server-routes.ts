import { z } from 'zod';
import { limits } from '../model/limits.ts';
import { API, change, control, documents, list, open, read } from './route.ts';
import type { Route } from './route.ts';
import * as schema from './schemas.ts';
import { jsonValueSchema } from './parse.ts';

const health = { ...open, whileStarting: true, response: schema.healthSchema } as const;

/** The server itself: health, what it is, who asks, keys, tokens, backup, documents as one text. */
export const serverRoutes = {
  live: { ...health, path: '/health/live', description: 'The process runs.' },
  ready: { ...health, path: '/health/ready', description: '200 when API requests are accepted; 503 says what is missing.' },
  startup: { ...health, path: '/health/startup', description: '200 once the node has started.' },
  metrics: {
    ...list,
    path: '/metrics',
    whileStarting: true,
    answer: 'text',
    response: z.string(),
    description: 'Metrics in the Prometheus text format.',
  },
  root: { ...health, path: `${API}/`, description: 'The same as `/health/ready`, where published clients look.' },
  members: {
    ...read,
    path: `${API}/members`,
    query: z.object({ system: z.string().max(120).optional() }),
    response: z.array(schema.memberSchema),
    description: 'Where clients of each location, or of that of a `system`, can be served: the origins to which a redirect may send them.',
  },
  requestList: {
    ...list,
    path: `${API}/requests`,
    role: 'operator',
    response: z.array(schema.requestSchema),
    description:
      'Commands in flight at this server: run here, passed on, or held back while control changes hands, oldest first; then starts and stops of modules.',
  },
  requestCancel: {
    ...control,
    method: 'DELETE',
    adminOf: 'request',
    path: `${API}/requests/:id`,
    params: schema.byRequestId,
    response: schema.requestSchema,
    description:
      'Cancels a command in flight: what it was. Its caller is answered with `COMMAND_CANCELLED`. ' +
      'A start of modules ends: those whose turn has not come stay as they are; an operator must be listed in the `admins` for that.',
  },
  version: { ...open, path: `${API}/version`, response: schema.versionInfoSchema, description: 'Name and version of the server.' },
  authority: {
    ...open,
    path: '/auth/authority',
    response: schema.authoritySchema,
    description: 'What published clients ask first; `version` tells them which generation to speak.',
  },
  openApi: {
    ...open,
    path: '/openapi.json',
    response: z.record(z.string(), jsonValueSchema),
    description: 'This table with all schemas, as OpenAPI 3.1.',
  },
  apiPage: { ...open, path: '/docs', masterOnly: true, answer: 'html', response: z.string(), description: 'The same as a page to read.' },
  userCurrent: { ...read, path: `${API}/users/current`, response: schema.userSchema, description: 'Whose key or token this is.' },

  apply: {
    ...documents,
    path: `${API}/documents/apply`,
    bodyBytes: limits.siteFileBytes,
    body: schema.applyBody,
    response: schema.planSchema,
    description: 'Makes the documents what the text says; `dry_run` only plans.',
  },
  export: {
    ...list,
    path: `${API}/documents/export`,
    role: 'admin',
    // An edge knows less, and applying what it knows would empty settings.
    masterOnly: true,
    answerBytes: limits.exportBytes,
    response: schema.exportSchema,
    description: 'All documents as one text that `apply` accepts.',
  },
  settingsKeys: {
    ...list,
    path: `${API}/settings_keys`,
    role: 'admin',
    response: schema.settingsKeysSchema,
    description: 'Ids of the keys of sealed settings that this server has, and how many values are sealed with which, by document.',
  },
  settingsRekey: {
    ...documents,
    path: `${API}/settings_keys/rekey`,
    body: schema.rekeyBody,
    response: schema.rekeySchema,
    description: 'Seals every value under the first key of this server, all or nothing; `dry_run` only counts.',
  },
  backup: {
    ...change,
    path: `${API}/backup`,
    body: schema.backupBody,
    status: 201,
    response: schema.backupSchema,
    description: 'Copies the documents of this server into a new file of its backup folder, while it runs.',
  },

  keyList: {
    ...list,
    path: `${API}/api_keys`,
    role: 'admin',
    query: schema.listQuery,
    response: z.array(schema.apiKeySchema),
    description: 'API keys, without their secrets.',
  },
  keyAdd: {
    ...documents,
    path: `${API}/api_keys`,
    body: schema.newKeyBody,
    status: 201,
    response: schema.newApiKeySchema,
    description: 'A new API key, shown once.',
  },
  keyRevoke: {
    ...documents,
    method: 'DELETE',
    path: `${API}/api_keys/:id`,
    params: schema.byId,
    response: schema.revokedSchema,
    description: 'Revokes an API key; its open streams end. The last one of an administrator is not: 409 `LAST_ADMIN_KEY`.',
  },
  tokenList: {
    ...list,
    path: `${API}/tokens`,
    role: 'admin',
    query: schema.listQuery,
    response: z.array(schema.tokenSchema),
    description: 'Bearer tokens, without their secrets.',
  },
  tokenIssue: {
    ...documents,
    path: `${API}/tokens`,
    body: schema.newTokenBody,
    status: 201,
    response: schema.newBearerSchema,
    description: 'A new bearer token for a user, shown once; `expires_in` seconds, a day without it.',
  },
  tokenRevoke: {
    ...documents,
    method: 'DELETE',
    path: `${API}/tokens/:id`,
    params: schema.byId,
    response: schema.revokedSchema,
    description: 'Revokes a bearer token; its open streams end.',
  },
} as const satisfies Record<string, Route>;
