import type { Command } from 'commander';
import { z } from 'zod';
import { routes } from '../../client-sdk/index.ts';
import type { Cell } from '../format.ts';
import type { Session } from '../session.ts';

type Functions = Readonly<Record<string, { order: readonly string[]; params: Readonly<Record<string, unknown>> }>>;

/** `holdfast methods`: what `holdfast exec` can run. */
export function addMethods(program: Command, session: Session): void {
  program
    .command('methods <system> <module>')
    .description('methods of a module with their parameters, wherever it runs, such as: methods sys-1 Display_1')
    .action(async (id: string, module: string) => {
      const functions = await (await session.client()).call(routes.functions, { params: { id, module } });
      const rows = methodRows(functions);
      session.result(functions, () => (rows.length === 0 ? 'It has no methods.\n' : session.table(['METHOD', 'PARAMETERS'], rows)));
    });
}

/** A row for each method: its name, and what it takes in that order. */
export const methodRows = (functions: Functions): Cell[][] =>
  Object.entries(functions).map(([method, { order, params }]) => [method, order.map((name) => parameterText(name, params[name])).join(', ')]);

/** What a JSON schema says that fits in a few words; the rest is in `-o json`. */
const shortSchema = z.looseObject({
  type: z.string().optional(),
  enum: z.array(z.json()).optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  default: z.json().optional(),
});
type Short = z.output<typeof shortSchema>;

/** `on: boolean`, `input: "hdmi" | "vga"`, `level: integer 0 to 100 = 50`. */
function parameterText(name: string, schema: unknown): string {
  const { data } = shortSchema.safeParse(schema);
  if (data === undefined) return name;
  const { type, enum: values } = data;
  const what = values === undefined ? type : values.map((value) => JSON.stringify(value)).join(' | ');
  const standard = data.default === undefined ? '' : ` = ${JSON.stringify(data.default)}`;
  return `${name}${what === undefined ? '' : `: ${what}${rangeText(data)}`}${standard}`;
}

function rangeText({ minimum, maximum }: Short): string {
  if (isBound(minimum) && isBound(maximum)) return ` ${minimum} to ${maximum}`;
  if (isBound(minimum)) return ` from ${minimum}`;
  return isBound(maximum) ? ` up to ${maximum}` : '';
}

/** Every whole number has the largest ones there are, as its JSON schema is made. */
const isBound = (bound: number | undefined): bound is number => bound !== undefined && Math.abs(bound) < Number.MAX_SAFE_INTEGER;
