import { dirname, extname } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { BuildFailure, Loader, Message, Plugin } from 'esbuild';
import { HoldfastError } from '../shared/model/errors.ts';

/** The driver SDK of this very program: a driver and its runtime must agree on it. */
const sdkUrl = new URL('../driver-sdk/index.js', import.meta.url).href;

const useOwnSdk: Plugin = {
  name: 'driver-sdk',
  setup: (build) => build.onResolve({ filter: /^holdfast\/driver$/ }, () => ({ path: sdkUrl, external: true })),
};

/** A file whose content is another one for this time. */
export interface EditedFile {
  /** Real path. */
  path: string;
  /** As it was asked for. */
  file: string;
  content: string;
}

const loaders: Readonly<Record<string, Loader>> = { '.ts': 'ts', '.json': 'json' };

const replacing = ({ path, content }: EditedFile, used: () => void): Plugin => ({
  name: 'edited',
  setup: (build) =>
    build.onLoad({ filter: /.*/, namespace: 'file' }, (file) => {
      if (file.path !== path) return null;
      used();
      return { contents: content, loader: loaders[extname(path)] ?? 'js' };
    }),
});

/** The last call of esbuild: `stop` of one would end another. */
let tail: Promise<unknown> = Promise.resolve();

/**
 * One JavaScript module of a TypeScript or JavaScript file and everything that it imports. Types are taken away, not
 * checked. Throws DRIVER_INVALID with file, line and column.
 */
export function compile(entry: string, edit: EditedFile | null = null): Promise<string> {
  const compiled = tail.then(() => bundle(entry, edit));
  tail = compiled.catch(() => undefined);
  return compiled;
}

async function bundle(entry: string, edit: EditedFile | null): Promise<string> {
  // Loaded when needed: most driver hosts run built-in drivers only.
  const { build, stop } = await import('esbuild');
  const folder = dirname(entry);
  const url = JSON.stringify(pathToFileURL(entry).href);
  let used = edit === null;
  try {
    const { outputFiles } = await build({
      entryPoints: [entry],
      absWorkingDir: folder,
      bundle: true,
      write: false,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      sourcemap: 'inline',
      sourcesContent: false,
      sourceRoot: `${pathToFileURL(folder).href}/`,
      // What the file reads lies next to it, not next to what it was made into.
      define: { 'import.meta.url': url },
      // Packages of the older form, bundled, ask for what Node has with `require`.
      banner: { js: `import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(${url});` },
      logLevel: 'silent',
      plugins: edit === null ? [useOwnSdk] : [useOwnSdk, replacing(edit, () => (used = true))],
    });
    if (!used) throw new HoldfastError('INPUT_INVALID', { field: 'file', problem: `the driver does not use "${edit?.file}"` });
    return outputFiles[0]?.text ?? '';
  } catch (error) {
    throw isBuildFailure(error) ? invalid(entry, error.errors[0]) : error;
  } finally {
    await stop();
  }
}

const isBuildFailure = (error: unknown): error is BuildFailure => error instanceof Error && 'errors' in error && Array.isArray(error.errors);

function invalid(entry: string, message: Message | undefined): HoldfastError {
  const at = message?.location;
  const place = at == null ? entry : `${dirname(entry)}/${at.file}:${at.line}:${at.column + 1}`;
  return new HoldfastError('DRIVER_INVALID', { place, problem: message?.text ?? 'cannot be compiled' });
}
