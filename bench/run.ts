import { writeFile } from 'node:fs/promises';
import { benchBusy, benchRefused } from './busy.ts';
import { benchExec } from './exec.ts';
import { benchFanout } from './fanout.ts';
import { benchLink } from './link.ts';
import { type Figure, Report } from './support/report.ts';

/** Each prints a table and what it is measured by. `npm run bench` runs all, `npm run bench link` the named ones; `BENCH_OUTPUT` names a file for the figures as JSON. */
const benchmarks: Record<string, (report: Report) => Promise<void>> = {
  link: benchLink,
  exec: benchExec,
  fanout: benchFanout,
  busy: benchBusy,
  refused: benchRefused,
};

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !Object.hasOwn(benchmarks, name));
if (unknown.length > 0) {
  process.stderr.write(`There is no benchmark ${unknown.join(', ')}. There are: ${Object.keys(benchmarks).join(', ')}\n`);
  process.exit(2);
}
const figures: Figure[] = [];
for (const [name, run] of Object.entries(benchmarks)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  process.stdout.write(`\n${name}\n`);
  const report = new Report(name, (text) => process.stdout.write(text));
  try {
    await run(report);
  } catch (error) {
    process.stdout.write(`${name} failed: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
  figures.push(...report.figures);
}
const output = process.env['BENCH_OUTPUT'];
if (output !== undefined) await writeFile(output, `${JSON.stringify(figures, null, 2)}\n`);
