import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The repository as text: what the tidy tests judge. */

export const root = fileURLToPath(new URL('../../../', import.meta.url));

export const read = (path: string): string => readFileSync(root + path, 'utf8');

export const exists = (path: string): boolean => existsSync(root + path);

/** Paths from the root, sorted; `paths` are files or folders, folders with everything below them. */
export function filesOf(paths: readonly string[], pattern: RegExp): string[] {
  const found = paths.filter(exists).flatMap((path) => (statSync(root + path).isDirectory() ? filesBelow(path) : [path]));
  return found.filter((path) => pattern.test(path)).toSorted();
}

function filesBelow(folder: string): string[] {
  return readdirSync(root + folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`.slice(root.length))
    .filter((path) => !path.includes('node_modules/'));
}

export const sourceFiles = (): string[] => filesOf(['src'], /\.ts$/);
export const testFiles = (): string[] => filesOf(['test', 'bench'], /\.(ts|mjs)$/);
export const documentFiles = (): string[] =>
  filesOf(['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'docs', 'test', 'bench'], /\.md$/);

export interface Line {
  file: string;
  /** Counts from 1. */
  number: number;
  text: string;
}

export const linesOf = (file: string, text: string = read(file)): Line[] =>
  text.split('\n').map((line, i) => ({ file, number: i + 1, text: line }));

export const place = ({ file, number, text }: Line): string => `${file}:${number}: ${text.trim().slice(0, 100)}`;
