import { Validator } from '@seriousme/openapi-schema-validator';
import { describe, expect, it } from 'vitest';
import { openApi } from '../../src/shared/client-api/openapi.ts';
import { openApiPage } from '../../src/shared/client-api/openapi-page.ts';
import { routes } from '../../src/shared/client-api/routes.ts';
import type { Route } from '../../src/shared/client-api/routes.ts';

interface Operation {
  operationId: string;
  parameters: { name: string; in: string; required: boolean }[];
  requestBody?: { content: Record<string, { schema: { properties: object } }> };
}
const description = openApi('1.2.3') as unknown as { paths: Record<string, Record<string, Operation>> };

describe('the OpenAPI description', () => {
  it('is valid by the schema of OpenAPI 3.1', async () => {
    expect(await new Validator().validate(structuredClone(description))).toEqual({ valid: true });
  });

  it('has every route, with its parameters, and no other', () => {
    const found = Object.entries(description.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { operationId, parameters }]) => ({ path, method, operationId, parameters })),
    );
    expect(found.map(({ operationId }) => operationId).toSorted()).toEqual(Object.keys(routes).toSorted());
    for (const { path, method, operationId, parameters } of found) {
      const route = Object.entries<Route>(routes).find(([name]) => name === operationId)?.[1];
      expect([method.toUpperCase(), path]).toEqual([route?.method, route?.path.replaceAll(/:(\w+)/g, '{$1}')]);
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
      expect([operationId, parameters.filter((one) => one.in === 'path').map(({ name }) => name)]).toEqual([operationId, inPath]);
    }
  });

  it('says what may be asked and sent', () => {
    const systems = description.paths['/api/engine/v2/systems'];
    expect(systems?.['get']?.parameters.map(({ name }) => name)).toEqual(expect.arrayContaining(['q', 'limit', 'offset', 'zone_id']));
    expect(Object.keys(systems?.['post']?.requestBody?.content['application/json']?.schema.properties ?? {})).toEqual(
      expect.arrayContaining(['id', 'name', 'zones', 'modules', 'settings']),
    );
  });

  it('is a page too, which no description can break', () => {
    const page = openApiPage('<1>');
    for (const { path } of Object.values<Route>(routes)) expect(page).toContain(path);
    expect(page).toContain('&lt;1&gt;');
    expect(page).not.toContain('<script');
  });
});
