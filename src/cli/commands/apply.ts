import type { Command } from 'commander';
import { routes } from '../../client-sdk/index.ts';
import type { Plan } from '../../client-sdk/index.ts';
import { advising } from '../failures.ts';
import { clean } from '../format.ts';
import type { Colour } from '../format.ts';
import { dangerous } from '../session.ts';
import type { Danger, Session } from '../session.ts';

/** A file of many thousand documents takes a busy server this long. */
const PATIENCE_MS = 120_000;
/** What a file does not have stays as it is. */
const TOO_LARGE = {
  BODY_TOO_LARGE: 'split the file and apply the parts in turn: drivers, edges and zones first, a system together with its modules',
};

export function addApply(program: Command, session: Session): void {
  const command = program
    .command('apply')
    .description('make the documents what a file says')
    .requiredOption('-f, --file <path>', 'the file; - reads standard input');
  dangerous(command).action(async ({ file, ...options }: Danger & { file: string }) => {
    // Standard input cannot both bring the file and answer the question.
    session.requireConfirmable(options);
    const text = file === '-' ? await session.deps.stdin.readAll() : await session.deps.readFile(file);
    const client = await session.client();
    const plan = await advising(client.call(routes.apply, { body: { text, dry_run: true } }, { timeoutMs: PATIENCE_MS }), TOO_LARGE);
    if (options.dryRun === true || plan.changes.length === 0) {
      session.result(plan, () => `${planText(session, plan)}${options.dryRun === true ? 'Dry run: nothing was changed.\n' : ''}`);
      return;
    }
    await session.confirm(`Make ${count(plan.changes.length)}?`, planText(session, plan), options);
    const done = await client.call(routes.apply, { body: { text } }, { timeoutMs: PATIENCE_MS });
    session.result(done, () => `${planText(session, done)}Applied: ${count(done.changes.length)}.\n`);
  });
}

const count = (changes: number): string => (changes === 1 ? '1 change' : `${changes} changes`);
const signs: Record<string, { sign: string; colour: Colour }> = {
  create: { sign: '+', colour: 'green' },
  update: { sign: '~', colour: 'yellow' },
  remove: { sign: '-', colour: 'red' },
};

function planText({ paint }: Session, plan: Plan): string {
  const changes = plan.changes.flatMap(({ op, kind, id, details }) => {
    const { sign, colour } = (Object.hasOwn(signs, op) ? signs[op] : undefined) ?? { sign: '?', colour: 'yellow' as const };
    return [paint(`${sign} ${clean(kind)} ${clean(id)}`, colour), ...details.map((detail) => `    ${clean(detail)}`)];
  });
  const warnings = plan.warnings.map((warning) => paint(`warning: ${clean(warning)}`, 'yellow'));
  const summary = plan.changes.length === 0 ? 'Nothing to change.' : `${count(plan.changes.length)}, ${plan.unchanged} as they are.`;
  return `${[...changes, ...warnings, summary].join('\n')}\n`;
}
