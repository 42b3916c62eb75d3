import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { type PlantedFault, withFault } from '../../support/planted-fault.ts';

export interface Caught {
  seed: string;
  problem: string;
}

/** Plays seeds in a process of its own, since what was planted may also crash or hang a node; the first that breaks is told. */
const program = (seeds: readonly string[]): string => `
  import { runSeed } from './seed.ts';
  let crash = () => undefined;
  let playing = '';
  process.on('unhandledRejection', (error) => crash(error));
  const tell = (caught) => process.stdout.write(JSON.stringify(caught), () => process.exit(0));
  process.on('uncaughtException', (error) => tell({ seed: playing, problem: String(error) }));
  const play = async () => {
    for (const seed of ${JSON.stringify(seeds)}) {
      playing = seed;
      const { violation } = await runSeed(seed, { onCrash: (crashed) => { crash = crashed; } });
      if (violation !== null) return tell({ seed, problem: violation.problem });
    }
    tell(null);
  };
  void play();
`;

/** The first of these seeds that shows the fault; null: none does. */
export function firstSeedThatShows(fault: PlantedFault, seeds: readonly string[]): Promise<Caught | null> {
  const entry = { contents: program(seeds), resolveDir: resolve(import.meta.dirname, '../../../src/sim') };
  return withFault(fault, entry, async (file) => {
    const { stdout } = await promisify(execFile)(process.execPath, [file], { timeout: 120_000, maxBuffer: 16 * 1024 * 1024 });
    return JSON.parse(stdout) as Caught | null;
  });
}
