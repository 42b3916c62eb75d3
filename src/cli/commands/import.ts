import type { Command } from 'commander';
import { clean, cleanLines, plural } from '../format.ts';
import type { Session } from '../session.ts';

interface Options {
  from: string;
  out?: string;
  dryRun?: boolean;
}

export function addImport(program: Command, session: Session): void {
  program
    .command('import')
    .description('documents of other programs, as a site file')
    .command('couchbase')
    .description("documents of ACA Engine's couchbase-orm: shows field by field what changes; the password is read from HOLDFAST_STORE_PASSWORD_FILE")
    .requiredOption('--from <address>', 'such as couchbase://reader@db.example.org/engine')
    .option('--out <file>', 'write the site file for `holdfast apply` here')
    .option('--dry-run', 'only show what would change')
    .action(async ({ from, out, dryRun }: Options) => {
      const { env, signal } = session.deps;
      const { text, report, skipped } = await session.deps.importCouchbase({ from, env, signal });
      const written = out !== undefined && dryRun !== true;
      if (written) await session.deps.writeFile(out, Buffer.from(text));
      const changes = report.flatMap(({ id, changes: of }) =>
        of.map(({ field, from: before, to, why }) => `${id} ${field}: ${JSON.stringify(before)} → ${to === null ? 'left out' : JSON.stringify(to)} (${why})\n`),
      );
      const left = skipped.map(({ id, why }) => `${id} left out: ${why}\n`);
      const end = written ? `Written to ${clean(out)}: holdfast apply -f ${clean(out)} --dry-run\n` : 'Nothing was written; --out <file> writes a site file.\n';
      const sum = `${plural(report.length, 'document')} taken, ${skipped.length} left out.\n`;
      session.result({ report, skipped, written: written ? out : null }, () => `${cleanLines([...changes, ...left].join(''))}${sum}${end}`);
    });
}
