import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import type * as model from '../../src/sim/model/model.ts';
import type * as search from '../../src/sim/model/search.ts';
import type * as stories from './story/run-story.ts';

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
type Stories = typeof stories;

/** The model, built from the source of production with one fault in it. The source itself is not touched. */
export const modelWith = (fault: PlantedFault): Promise<Model> =>
  buildWith<Model>(fault, `export * from './model.ts'; export * from './search.ts';`, join(source, 'sim/model'));

/** The interpreter of the golden stories, with one fault in what it plays. */
export const storiesWith = (fault: PlantedFault): Promise<Stories> =>
  buildWith<Stories>(fault, `export * from './run-story.ts';`, resolve(import.meta.dirname, 'story'));

async function buildWith<T>(fault: PlantedFault, contents: string, resolveDir: string): Promise<T> {
  const path = join(source, fault.file);
  const text = await readFile(path, 'utf8');
  const found = text.split(fault.from).length - 1;
  if (found !== 1) throw new Error(`"${fault.name}": its place occurs ${found} times in ${fault.file}, it must occur once`);
  const patched = text.replace(fault.from, () => fault.to);
  const built = await build({
    stdin: { contents, resolveDir, loader: 'ts' },
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
    return (await import(/* @vite-ignore */ pathToFileURL(file).href)) as T;
  } finally {
    await rm(folder, { recursive: true });
  }
}
