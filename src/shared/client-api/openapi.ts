import { z } from 'zod';
import type { JsonObject } from '../foundation/json.ts';
import type { Route } from './route.ts';
import { routes } from './routes.ts';
import { errorSchema } from './schemas.ts';

/** The routes and their schemas as OpenAPI 3.1. `version` is that of the program. */
export function openApi(version: string): JsonObject {
  const paths: Record<string, JsonObject> = {};
  for (const [name, route] of Object.entries<Route>(routes)) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}');
    (paths[path] ??= {})[route.method.toLowerCase()] = operation(name, route);
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Holdfast', version, description: 'Edge and master serve the same routes; docs/api.md says how to use them.' },
    paths,
    components: {
      schemas: { Error: schemaOf(errorSchema.extend({ error: z.string() }).loose(), 'output') },
      securitySchemes: {
        key: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
        bearer: { type: 'http', scheme: 'bearer' },
      },
    },
  };
}

const mediaTypes = { json: 'application/json', text: 'text/plain', html: 'text/html', events: 'text/event-stream' } as const;
const CREDENTIALS: JsonObject[] = [{ key: [] }, { bearer: [] }];

function operation(name: string, route: Route): JsonObject {
  const body = schemaOf(route.body, 'input');
  const error = { description: 'What went wrong, and what to do', content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } } };
  const takesBody = route.method !== 'GET' && !isEmpty(body);
  return {
    operationId: name,
    description: `${route.description} ${accessOf(route)}`,
    security: route.role === null ? [] : CREDENTIALS,
    parameters: [...parameters(schemaOf(route.params, 'input'), 'path'), ...parameters(schemaOf(route.query, 'input'), 'query')],
    ...(takesBody ? { requestBody: { content: { 'application/json': { schema: body } } } } : {}),
    responses: {
      [route.status]: { description: 'Done', content: { [mediaTypes[route.answer]]: { schema: schemaOf(route.response, 'output') } } },
      default: error,
    },
  };
}

/** Who may, in words. */
export function accessOf({ role, adminOf, masterOnly }: Route): string {
  const needs = role === null ? 'Open.' : `Needs the role ${role}.`;
  const listed = adminOf === null ? '' : ' An operator must be listed in the `admins` of the location.';
  return `${needs}${listed}${masterOnly ? ' At the master only.' : ''}`;
}

/** What zod cannot say in JSON Schema (checks in code) is left out; the schema is then wider than the check. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output'): JsonObject {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  // JSON by its nature; the types of zod also allow what only lives in memory.
  return rest as JsonObject;
}

const isEmpty = ({ properties }: JsonObject): boolean => typeof properties === 'object' && properties !== null && Object.keys(properties).length === 0;

function parameters({ properties, required }: JsonObject, place: 'path' | 'query'): JsonObject[] {
  if (typeof properties !== 'object' || properties === null || Array.isArray(properties)) return [];
  const needed = Array.isArray(required) ? required : [];
  return Object.entries(properties).map(([name, schema]) => ({ name, in: place, required: place === 'path' || needed.includes(name), schema }));
}
