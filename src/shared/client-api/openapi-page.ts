import { accessOf } from './openapi.ts';
import type { Route } from './route.ts';
import { routes } from './routes.ts';

/** The routes as a page without scripts and styles, which the content security policy of the server does not allow. */
export function openApiPage(version: string): string {
  const rows = Object.values<Route>(routes).map(
    (route) =>
      `<tr><td><code>${route.method}&nbsp;${escaped(route.path)}</code></td><td>${escaped(route.description)}</td><td>${escaped(accessOf(route))}</td></tr>`,
  );
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Holdfast API</title></head><body>',
    `<h1>Holdfast ${escaped(version)}: API</h1><p>With all schemas: <a href="/openapi.json">openapi.json</a></p>`,
    '<table border="1" cellpadding="4"><tr><th>route</th><th>meaning</th><th>who may</th></tr>',
    ...rows,
    '</table></body></html>',
  ].join('\n');
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (text: string): string => text.replaceAll(/[&<>"]/g, (character) => entities[character] ?? '');
