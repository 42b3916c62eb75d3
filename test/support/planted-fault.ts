import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import type * as model from '../../src/sim/model/model.ts';
import type * as search from '../../src/sim/model/search.ts';
import type * as fences from '../sim/support/fences.ts';
import type * as stories from './story/run-story.ts';

const root = resolve(import.meta.dirname, '../..');
const source = join(root, 'src');

interface Edit {
  from: string;
  to: string;
}

/** A rule of the source that is left out: one place of one file is replaced, or several where one alone is no loss. */
export interface PlantedFault extends Edit {
  name: string;
  /** Below `src/`. */
  file: string;
  /** The second defence against the same thing; in the same file if it names none. */
  also?: Edit & { file?: string };
}

type Model = typeof model & typeof search;
type Stories = typeof stories;

/** The model, built from the source of production with one fault in it. The source itself is not touched. */
export const modelWith = (fault: PlantedFault): Promise<Model> =>
  importWith<Model>(fault, { contents: `export * from './model.ts'; export * from './search.ts';`, resolveDir: join(source, 'sim/model') });

/** The interpreter of the golden stories, with one fault in what it plays. */
export const storiesWith = (fault: PlantedFault): Promise<Stories> =>
  importWith<Stories>(fault, { contents: `export * from './run-story.ts';`, resolveDir: resolve(import.meta.dirname, 'story') });

type Fences = typeof fences;

/** The situations of the fences, with one of these left out. */
export const fencesWith = (fault: PlantedFault): Promise<Fences> =>
  importWith<Fences>(fault, { contents: `export * from './fences.ts';`, resolveDir: resolve(import.meta.dirname, '../sim/support') });

const importWith = <T>(fault: PlantedFault, entry: { contents: string; resolveDir: string }): Promise<T> =>
  withFault(fault, entry, async (file) => (await import(/* @vite-ignore */ pathToFileURL(file).href)) as T);

/** Builds an entry with the fault in it, and uses the file that came out until `use` has ended. */
export async function withFault<T>(fault: PlantedFault, entry: { contents: string; resolveDir: string }, use: (file: string) => Promise<T>): Promise<T> {
  const patched = await plant(fault);
  const built = await build({
    stdin: { ...entry, loader: 'ts' },
    bundle: true,
    // Without the packages a build takes a fifth of the time.
    packages: 'external',
    platform: 'node',
    format: 'esm',
    write: false,
    logLevel: 'silent',
    plugins: [
      {
        name: 'planted-fault',
        setup(bundler) {
          bundler.onLoad({ filter: /\.ts$/ }, ({ path }) => {
            const contents = patched.get(path);
            return contents === undefined ? undefined : { contents, loader: 'ts' };
          });
        },
      },
    ],
  });
  // Where the packages are found.
  const folder = await mkdtemp(join(root, 'node_modules/.planted-fault-'));
  try {
    const file = join(folder, 'built.mjs');
    await writeFile(file, built.outputFiles[0]?.text ?? '');
    return await use(file);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The files that are touched, with what is left out of them. */
async function plant({ name, file, from, to, also }: PlantedFault): Promise<Map<string, string>> {
  const patched = new Map<string, string>();
  const edits = also === undefined ? [{ file, from, to }] : [{ file, from, to }, { file, ...also }];
  for (const edit of edits) {
    const path = join(source, edit.file);
    const text = patched.get(path) ?? (await readFile(path, 'utf8'));
    const found = text.split(edit.from).length - 1;
    if (found !== 1) throw new Error(`"${name}": its place occurs ${found} times in ${edit.file}, it must occur once`);
    patched.set(path, text.replace(edit.from, () => edit.to));
  }
  return patched;
}
