import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import type * as model from '../../src/sim/model/model.ts';
import type * as search from '../../src/sim/model/search.ts';

const source = resolve(import.meta.dirname, '../../src');

/** A rule of the source that is left out: one place of one file is replaced. */
export interface PlantedFault {
  name: string;
  /** Below `src/`. */
  file: string;
  from: string;
  to: string;
}

type Model = typeof model & typeof search;

/** The model, built from the source of production with one fault in it. The source itself is not touched. */
export async function modelWith(fault: PlantedFault): Promise<Model> {
  const path = join(source, fault.file);
  const text = await readFile(path, 'utf8');
  const found = text.split(fault.from).length - 1;
  if (found !== 1) throw new Error(`"${fault.name}": its place occurs ${found} times in ${fault.file}, it must occur once`);
  const patched = text.replace(fault.from, () => fault.to);
  const built = await build({
    stdin: { contents: `export * from './model.ts'; export * from './search.ts';`, resolveDir: join(source, 'sim/model'), loader: 'ts' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    write: false,
    logLevel: 'silent',
    plugins: [
      {
        name: 'planted-fault',
        setup(bundler) {
          bundler.onLoad({ filter: /\.ts$/ }, (file) => (file.path === path ? { contents: patched, loader: 'ts' } : undefined));
        },
      },
    ],
  });
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-fault-'));
  try {
    const file = join(folder, 'model.mjs');
    await writeFile(file, built.outputFiles[0]?.text ?? '');
    return (await import(/* @vite-ignore */ pathToFileURL(file).href)) as Model;
  } finally {
    await rm(folder, { recursive: true });
  }
}
