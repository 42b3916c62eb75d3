import { z } from 'zod';
import type { JsonObject } from '../shared/foundation/json.ts';
import type { ModuleFunction } from '../shared/ports/device-link.ts';
import type { Method, Methods } from './driver.ts';

/** What `method` was told of the parameters of a method. */
interface Parameters {
  schema: z.ZodType;
  run: (...args: never[]) => unknown;
}

const known = new WeakMap<Method, Parameters>();

export function remember(method: Method, parameters: Parameters): Method {
  known.set(method, parameters);
  return method;
}

/** Name, arity and parameters of each public method. Names are those of the schema (`meta({ title })`), else of the function. */
export function describeMethods(methods: Methods): Record<string, ModuleFunction> {
  return Object.fromEntries(Object.entries(methods).map(([name, method]) => [name, describe(method)]));
}

function describe(method: Method): ModuleFunction {
  const parameters = known.get(method);
  const schemas = parameters === undefined ? [] : itemsOf(parameters.schema);
  const names = namesOf(parameters?.run ?? method);
  const arity = parameters === undefined ? names.length : schemas.length;
  const order = Array.from({ length: arity }, (_, at) => {
    const title = schemas[at]?.['title'];
    return typeof title === 'string' ? title : (names[at] ?? `arg${at + 1}`);
  });
  return { arity, order, params: Object.fromEntries(order.map((name, at) => [name, schemas[at] ?? {}])) };
}

/** JSON schemas of the items of a tuple. */
function itemsOf(schema: z.ZodType): JsonObject[] {
  const { prefixItems } = describeSchema(schema);
  return Array.isArray(prefixItems) ? prefixItems.map((item) => (isObject(item) ? item : {})) : [];
}

const isObject = (value: unknown): value is JsonObject => typeof value === 'object' && value !== null && !Array.isArray(value);

/** As JSON schema, of what may be given; what that cannot say (a transformation) becomes an empty one. */
export function describeSchema(schema: z.ZodType): JsonObject {
  const { $schema: _, ...described } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  return JSON.parse(JSON.stringify(described)) as JsonObject;
}

/** The parameters as they are written; one that is taken apart has no name. Read from the source: nothing else keeps them. */
function namesOf(run: (...args: never[]) => unknown): string[] {
  const source = run.toString();
  const single = /^(?:async\s+)?([\w$]+)\s*=>/.exec(source)?.[1];
  if (single !== undefined) return [single];
  const open = source.indexOf('(');
  return open === -1 ? [] : splitParameters(source.slice(open + 1)).map((text, at) => /^(?:\.\.\.)?\s*([\w$]+)/.exec(text)?.[1] ?? `arg${at + 1}`);
}

/** Up to the bracket that closes the list. Defaults may hold brackets and commas of their own, also within texts. */
function splitParameters(text: string): string[] {
  const parameters: string[] = [];
  let depth = 0;
  let parameter = '';
  for (const [token] of text.matchAll(/"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`|[^]/g)) {
    if (depth === 0 && (token === ',' || token === ')')) {
      if (parameter.trim() !== '') parameters.push(parameter.trim());
      parameter = '';
      if (token === ')') return parameters;
      continue;
    }
    if ('([{'.includes(token)) depth += 1;
    if (')]}'.includes(token)) depth -= 1;
    parameter += token;
  }
  return parameters;
}
