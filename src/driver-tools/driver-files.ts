import { createHash } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Driver } from '../driver-sdk/index.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import type { DriverEdit } from '../shared/ports/device-link.ts';
import { compile } from './compile.ts';

/** A driver of somebody's own: `lamp.ts`, or `lamp/driver.ts` with whatever else it needs around it. JavaScript will do too. */
export interface DriverFile {
  /** That of the file or folder, and what the driver must call itself. */
  name: string;
  entry: string;
}

const NAME = /^[a-z][a-z0-9-]{0,59}$/;
const FILE = /^([a-z][a-z0-9-]{0,59})\.(?:ts|js|mjs)$/;
const ENTRIES = ['driver.ts', 'driver.js', 'driver.mjs'];

/** The drivers in a folder, by name. Reads names only. */
export function driverFiles(folder: string): Map<string, DriverFile> {
  const files = new Map<string, DriverFile>();
  for (const item of readdirSync(folder).toSorted()) {
    const file = driverFileAt(join(folder, item));
    if (file !== null && !files.has(file.name)) files.set(file.name, file);
  }
  return files;
}

/** The driver at a path; null: there is none. */
export function driverFileAt(path: string): DriverFile | null {
  const whole = resolve(path);
  if (!existsSync(whole)) return null;
  const base = basename(whole);
  if (statSync(whole).isDirectory()) {
    const entry = ENTRIES.map((name) => join(whole, name)).find((candidate) => existsSync(candidate));
    return entry === undefined || !NAME.test(base) ? null : { name: base, entry };
  }
  if (ENTRIES.includes(base)) return driverFileAt(join(whole, '..'));
  const name = FILE.exec(base)?.[1];
  return name === undefined ? null : { name, entry: whole };
}

/** What a driver was compiled to: one JavaScript module. */
export interface CompiledDriver extends DriverFile {
  code: string;
}

/** How the folders begin in which code lies while it is loaded. */
const CODE_PLACE = join(tmpdir(), 'holdfast-driver-');

/**
 * Compiles and runs the file. Calls `entering` right before its code runs. `place`: how the folder begins in which the code lies
 * meanwhile. Throws DRIVER_INVALID with file, line and reason.
 */
async function loadDriver(file: DriverFile, entering: () => void = () => undefined, place = CODE_PLACE): Promise<Driver> {
  return runDriver({ ...file, code: await compile(file.entry) }, entering, place);
}

/** The same for what is compiled already. Each time it is code of its own, beside what runs. */
export async function runDriver({ name, entry, code }: CompiledDriver, entering: () => void, place = CODE_PLACE): Promise<Driver> {
  const exported = await run({ code, entry, place }, entering);
  const driver = exported.default;
  const invalid = (problem: string): HoldfastError => new HoldfastError('DRIVER_INVALID', { place: entry, problem });
  if (!isDriver(driver)) throw invalid('its default export must be what defineDriver returned');
  if (driver.name !== name) throw invalid(`it calls itself "${driver.name}"; its name must be "${name}", like its file or folder`);
  madeOf.set(driver, hashOf(code));
  return driver;
}

/** By the code that they were made of. */
const madeOf = new WeakMap<Driver, string>();
const hashOf = (code: string): string => createHash('sha256').update(code).digest('hex');

/** Is this driver made of the very same code? */
export const isMadeOf = (driver: Driver, { code }: CompiledDriver): boolean => madeOf.get(driver) === hashOf(code);

/** From a file, and not from memory: only then do the stacks of its errors name the lines of the source. */
async function run({ code, entry, place }: { code: string; entry: string; place: string }, entering: () => void): Promise<{ default?: unknown }> {
  const folder = await mkdtemp(place);
  try {
    const file = join(folder, 'driver.mjs');
    await writeFile(file, code);
    entering();
    return (await import(pathToFileURL(file).href)) as { default?: unknown };
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    throw new HoldfastError('DRIVER_INVALID', { place: placeOf(error, entry), problem }, { cause: error });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const isDriver = (value: unknown): value is Driver =>
  typeof value === 'object' && value !== null && 'name' in value && typeof value.name === 'string' && 'load' in value && typeof value.load === 'function';

/** Where in the file something was thrown: file, line and column, if its stack says so. */
export const placeOf = (error: unknown, entry: string): string => placeIn(error instanceof Error ? (error.stack ?? '') : '', entry);

export function placeIn(stack: string, entry: string): string {
  for (const [, url = '', place = ''] of stack.matchAll(/(file:\/\/[^\s()]+?|\/[^\s()]+?)(:\d+:\d+)/g)) {
    const path = url.startsWith('file:') ? fileURLToPath(url) : url;
    if (path === entry) return `${path}${place}`;
  }
  return entry;
}

/** Drivers of a folder, each loaded when it is first asked for. One that fails is tried again the next time. */
export class DriverFolder {
  readonly #folder: string;
  readonly #place: string;
  readonly #loading = new Map<string, Promise<Driver>>();
  /** Where the folder was last: its path may be a link to the commit that is checked out. */
  #tree = '';

  /** `place`: how the folders begin in which code lies while it is loaded. */
  constructor(folder: string, place = CODE_PLACE) {
    this.#folder = folder;
    this.#place = place;
  }

  get(name: string, entering: () => void): Promise<Driver> | undefined {
    this.#forgetOtherTree();
    const known = this.#loading.get(name);
    if (known !== undefined) return known;
    const file = driverFiles(this.#folder).get(name);
    if (file === undefined) return undefined;
    const loading = loadDriver(file, entering, this.#place);
    this.#loading.set(name, loading);
    loading.catch(() => {
      if (this.#loading.get(name) === loading) this.#loading.delete(name);
    });
    return loading;
  }

  /** What its file says now, or would with that content; null: it has none. Throws INPUT_INVALID, DRIVER_INVALID. */
  async compile(name: string, edit: DriverEdit | null = null): Promise<CompiledDriver | null> {
    const file = driverFiles(this.#folder).get(name);
    if (file === undefined) return null;
    return { ...file, code: await compile(file.entry, edit === null ? null : { path: editedPath(file, edit.file), ...edit }) };
  }

  /** `get` gives this one from now on. */
  adopt(driver: Driver): void {
    this.#forgetOtherTree();
    this.#loading.set(driver.name, Promise.resolve(driver));
  }

  /** Code of a commit that is not checked out any more starts no module. */
  #forgetOtherTree(): void {
    const tree = existsSync(this.#folder) ? realpathSync(this.#folder) : '';
    if (tree !== this.#tree) this.#loading.clear();
    this.#tree = tree;
  }
}

/**
 * The path of a file of a driver whose content is replaced for a trial. It must be there, a plain file below the folder of
 * the driver, without a symbolic link on the way. Throws INPUT_INVALID.
 */
function editedPath({ name, entry }: DriverFile, file: string): string {
  const invalid = (problem: string): HoldfastError => new HoldfastError('INPUT_INVALID', { field: 'file', problem });
  // `lamp.ts` has no folder of its own: what lies beside it belongs to others.
  const single = !ENTRIES.includes(basename(entry));
  if (single && file !== basename(entry)) throw invalid(`the driver ${name} is the single file ${basename(entry)}`);
  const folder = realpathSync(dirname(entry));
  const path = join(folder, file);
  if (!path.startsWith(folder + sep)) throw invalid(`"${file}" is not below the folder of the driver ${name}`);
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there?.isFile() !== true || realpathSync(path) !== path) throw invalid(`the driver ${name} has no file "${file}"`);
  return path;
}
