import type { Command } from 'commander';
import type { IndexRepair } from '../deps.ts';
import { CliFailure } from '../failures.ts';
import { clean, cleanLines, plural } from '../format.ts';
import { dangerous } from '../session.ts';
import type { Danger, Session } from '../session.ts';

const SHOWN = 10;

export function addIndex(program: Command, session: Session): void {
  const index = program.command('index').description('the indexes of documents in a database; HOLDFAST_STORE names it');
  dangerous(index.command('rebuild').description('write indexes anew that disagree with the documents; servers may run')).action(async (options: Danger) => {
    session.requireConfirmable(options);
    const run = async (dryRun: boolean): Promise<IndexRepair> => {
      const { env, signal } = session.deps;
      const report = await session.deps.rebuildIndexes({ env, dryRun, signal });
      if (report !== null) return report;
      throw new CliFailure('servers are writing, or nothing is stored there yet; nothing was changed', 'try again in a moment');
    };
    const planned = await run(true);
    const dry_run = options.dryRun === true;
    if (dry_run || planned.differences.length === 0) {
      session.result({ ...planned, dry_run }, () => `${show(planned)}${dry_run ? 'Dry run: nothing was changed.\n' : ''}`);
      return;
    }
    await session.confirm(`Write ${plural(planned.differences.length, 'index', 'indexes')} anew?`, show(planned), options);
    const done = await run(false);
    session.result({ ...done, dry_run }, () => 'Written anew. Restart servers that started in the meantime: they do not see documents that were missing.\n');
  });
}

function show({ documents, differences, damaged }: IndexRepair): string {
  const lines = differences.map(({ index, missing, surplus }) => {
    const parts = [missing.length > 0 ? `misses ${some(missing)}` : '', surplus.length > 0 ? `lists ${some(surplus)}, which do not belong there` : ''];
    return `${clean(index)}: ${parts.filter((part) => part !== '').join('; ') || 'cannot be read'}\n`;
  });
  const broken = damaged.map((problem) => `${clean(problem)}\n`);
  const none = differences.length === 0 ? `The indexes agree with ${plural(documents, 'document')}.\n` : '';
  return cleanLines([...lines, ...broken, none].join(''));
}

const some = (ids: readonly string[]): string => `${ids.slice(0, SHOWN).join(', ')}${ids.length > SHOWN ? ` and ${ids.length - SHOWN} more` : ''}`;
