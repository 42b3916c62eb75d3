import { benchLink } from './link.ts';

/** Each prints a table. `npm run bench` runs all, `npm run bench link` the named ones. */
const benchmarks: Record<string, () => Promise<string>> = {
  link: benchLink,
};

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !Object.hasOwn(benchmarks, name));
if (unknown.length > 0) {
  process.stderr.write(`There is no benchmark ${unknown.join(', ')}. There are: ${Object.keys(benchmarks).join(', ')}\n`);
  process.exit(2);
}
for (const [name, run] of Object.entries(benchmarks)) {
  if (asked.length === 0 || asked.includes(name)) process.stdout.write(`${name}\n${await run()}\n`);
}
