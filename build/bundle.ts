import { chmodSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { z } from 'zod';

/**
 * Puts the compiled program into few files, packages included: a start that reads a thousand small ones takes twice
 * the time (docs/decisions/0025). Each entry in `dist` leads to what it was made into, so that everyone finds it where
 * the compiler would leave it.
 */

const out = 'dist/program';
const entries = ['main', 'driver-host/main', 'driver-sdk/index'];

/** Code looks for files next to its own source, not next to what it was put into. */
const ownPlace: Plugin = {
  name: 'own-place',
  setup: (build) =>
    build.onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const place = relative(out, join('dist', relative('src', path))).split(sep).join('/').replace(/ts$/, 'js');
      const contents = readFileSync(path, 'utf8').replaceAll(/(?<!['"])import\.meta\.url/g, `new URL(${JSON.stringify(place)}, import.meta.url).href`);
      return { contents, loader: 'ts' };
    }),
};

/** What stays outside: what has binaries of its own, may be missing, or is loaded by few. */
const external = ['@photostructure/sqlite', 'couchbase', 'esbuild', 'net-snmp'];

rmSync(out, { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: Object.fromEntries(entries.map((entry) => [entry.replace('/', '-'), `src/${entry}.ts`])),
  outdir: out,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  sourcemap: true,
  sourcesContent: false,
  metafile: true,
  external,
  plugins: [ownPlace],
  // Packages of the older form ask for what Node has with `require`.
  banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  logLevel: 'warning',
});

for (const entry of entries) {
  const target = `${relative(dirname(`dist/${entry}.js`), out)}/${entry.replace('/', '-')}.js`;
  const lead = entry === 'main' ? '#!/usr/bin/env node\n' : '';
  const specifier = target.startsWith('.') ? target : `./${target}`;
  writeFileSync(`dist/${entry}.js`, `${lead}export * from '${specifier}';\n`);
}
// npm does so only when it links the command, which it remembers: a build after that would leave one that cannot be run.
chmodSync('dist/main.js', 0o755);

const manifest = z.object({ name: z.string(), license: z.string().default('no licence is named') });

// Their licences ask to be passed on with their code.
const folders = new Set(Object.keys(metafile.inputs).flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []));
const licences = [...folders].sort().map((folder) => {
  const file = readdirSync(folder).find((entry) => /^licen[sc]e/i.test(entry));
  const { name, license } = manifest.parse(JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')));
  return `# ${name}\n\n${file === undefined ? license : readFileSync(join(folder, file), 'utf8').trim()}\n`;
});
writeFileSync(join(out, 'LICENSES.md'), licences.join('\n'));
