import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';

const source = resolve(import.meta.dirname, '../../../src');

/** A rule of the source that is left out: one place of one file is replaced. */
export interface PlantedFault {
  name: string;
  /** Below `src/`. */
  file: string;
  from: string;
  to: string;
}

export interface Caught {
  seed: string;
  problem: string;
}

/** Plays seeds in a process of its own, since what was planted may also crash or hang a node; the first that breaks is told. */
const program = (seeds: number): string => `
  import { runSeed } from './seed.ts';
  let crash = () => undefined;
  let playing = '';
  process.on('unhandledRejection', (error) => crash(error));
  const tell = (caught) => process.stdout.write(JSON.stringify(caught), () => process.exit(0));
  process.on('uncaughtException', (error) => tell({ seed: playing, problem: String(error) }));
  const play = async () => {
    for (let i = 1; i <= ${seeds}; i += 1) {
      playing = String(i);
      const { violation } = await runSeed(playing, { onCrash: (crashed) => { crash = crashed; } });
      if (violation !== null) return tell({ seed: playing, problem: violation.problem });
    }
    tell(null);
  };
  void play();
`;

/** The first seed that shows the fault; null: none of that many. The source itself is not touched. */
export async function firstSeedThatShows(fault: PlantedFault, seeds: number): Promise<Caught | null> {
  const path = join(source, fault.file);
  const text = await readFile(path, 'utf8');
  const found = text.split(fault.from).length - 1;
  if (found !== 1) throw new Error(`"${fault.name}": its place occurs ${found} times in ${fault.file}, it must occur once`);
  const patched = text.replace(fault.from, () => fault.to);
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-fault-'));
  try {
    const outfile = join(folder, 'sim.mjs');
    const built = await build({
      stdin: { contents: program(seeds), resolveDir: join(source, 'sim'), loader: 'ts' },
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
    await writeFile(outfile, built.outputFiles[0]?.text ?? '');
    const { stdout } = await promisify(execFile)(process.execPath, [outfile], { timeout: 120_000, maxBuffer: 16 * 1024 * 1024 });
    return JSON.parse(stdout) as Caught | null;
  } finally {
    await rm(folder, { recursive: true });
  }
}
