import { lstatSync, realpathSync } from 'node:fs';
import { basename, dirname, join, sep } from 'node:path';
import { HoldfastError } from '../shared/model/errors.ts';

const invalid = (problem: string): HoldfastError => new HoldfastError('INPUT_INVALID', { field: 'file', problem });

/**
 * The path of a file of a driver whose content is replaced for a trial. It must be there, a plain file below the folder of
 * the driver, without a symbolic link on the way. Throws INPUT_INVALID.
 */
export function editedPath({ name, entry }: { name: string; entry: string }, file: string): string {
  // `lamp.ts` has no folder of its own: what lies beside it belongs to others.
  const single = !/^driver\.(ts|js|mjs)$/.test(basename(entry));
  if (single && file !== basename(entry)) throw invalid(`the driver ${name} is the single file ${basename(entry)}`);
  const folder = realpathSync(dirname(entry));
  const path = join(folder, file);
  if (!path.startsWith(folder + sep)) throw invalid(`"${file}" is not below the folder of the driver ${name}`);
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there?.isFile() !== true || realpathSync(path) !== path) throw invalid(`the driver ${name} has no file "${file}"`);
  return path;
}
