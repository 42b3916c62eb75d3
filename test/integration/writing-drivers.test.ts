import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { tempFolders } from '../support/temp-folder.ts';

const folder = tempFolders();

interface Block {
  language: string;
  /** Of a block that is a file. */
  file: string | null;
  text: string;
}

const block = /^```(\w+)(?: (\S+))?\n([\s\S]*?)^```$/gm;
/** Also within lists and quotations, and of the rarer form; with the line after it, to find it by. */
const fence = /^[\s>*+\-\d.]*(?:`{3,}|~{3,}).*\n?.*/gm;

const blocksOf = (page: string): Block[] =>
  [...page.matchAll(block)].map(([, language = '', file = null, text = '']) => ({ language, file, text }));

/** Commands with the output that the page shows. */
const commandsOf = (text: string): { command: string; shown: string }[] =>
  text
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const [command = '', ...lines] = part.split('\n');
      return { command, shown: lines.join('\n') };
    });

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

/** One shell for the whole page, as a reader has. */
class Shell {
  readonly #child: ChildProcess;
  #output = '';

  constructor(cwd: string, env: NodeJS.ProcessEnv) {
    // A group of its own: what it leaves running ends with it.
    this.#child = spawn('bash', ['--norc'], { cwd, env, detached: true, stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.#output += text));
    this.#child.stdin?.write('exec 2>&1\n');
  }

  async run(command: string): Promise<string> {
    this.#output = '';
    this.#child.stdin?.write(`${command}\necho "<ended>"\n`);
    await expect.poll(() => this.#output.includes('<ended>\n'), { timeout: 120_000, interval: 20, message: command }).toBe(true);
    return this.#output.slice(0, this.#output.indexOf('<ended>\n'));
  }

  async close(): Promise<void> {
    const gone = new Promise((done) => this.#child.once('exit', done));
    process.kill(-(this.#child.pid ?? 0), 'SIGTERM');
    this.#child.kill('SIGKILL');
    await gone;
  }
}

/** A line that is nothing but `…` stands for any number of them. */
const asPattern = (shown: string): RegExp => {
  const literal = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
  const lines = (text: string): string => text.split('…').map(literal).join('.*');
  return new RegExp(`^${shown.split(/^…\n/m).map(lines).join(String.raw`(?:.*\n)*`)}$`);
};

/** A checkout as it is after its packages were fetched and it was built. */
function checkoutIn(home: string): string {
  const checkout = join(home, 'checkout');
  mkdirSync(checkout);
  // Links to the files are as good, where that is possible, and take no time.
  const copy = (name: string): void => {
    const linked = spawnSync('cp', ['-al', resolve(name), checkout]).status === 0;
    if (!linked) execFileSync('cp', ['-a', resolve(name), checkout]);
  };
  for (const name of ['node_modules', 'dist']) copy(name);
  // npm writes these.
  const lock = 'node_modules/.package-lock.json';
  rmSync(join(checkout, lock));
  for (const name of ['package.json', 'package-lock.json', lock]) copyFileSync(name, join(checkout, name));
  return checkout;
}

/** What `tsc --strict` says of these files, beside which `holdfast` and the types of Node are installed. */
function typeErrors(folder: string, checkout: string, files: readonly string[]): string {
  const packages = join(folder, 'node_modules');
  mkdirSync(join(packages, '@types'), { recursive: true });
  symlinkSync(checkout, join(packages, 'holdfast'));
  symlinkSync(resolve('node_modules/@types/node'), join(packages, '@types', 'node'));
  const flags = ['--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2023', '--types', 'node', '--allowImportingTsExtensions'];
  return spawnSync(resolve('node_modules/.bin/tsc'), [...flags, ...files], { cwd: folder, encoding: 'utf8' }).stdout;
}

it('docs/writing-drivers.md leads from nothing to a driver that runs, word for word', { timeout: 400_000 }, async () => {
  const scope = new Scope();
  try {
    const home = folder();
    const bin = join(home, 'bin');
    mkdirSync(bin);
    symlinkSync(process.execPath, join(bin, 'node'));
    const checkout = checkoutIn(home);
    const drivers = join(home, 'try-drivers');
    // Everything is there already: nothing is fetched, and nothing built.
    const npm = { npm_config_prefix: join(home, 'npm'), npm_config_offline: 'true', npm_config_ignore_scripts: 'true', npm_config_audit: 'false' };
    const [http, link, lamp] = [await freePort(), await freePort(), await freePort()];
    const addresses = { HOLDFAST_HTTP: `127.0.0.1:${http}`, HOLDFAST_LINK: `127.0.0.1:${link}`, HOLDFAST_SERVER: `http://127.0.0.1:${http}` };
    const shell = new Shell(checkout, { PATH: `${bin}:${home}/npm/bin:${process.env['PATH']}`, HOME: home, ...npm, ...addresses });
    scope.defer('shell', () => shell.close());
    // The ports of the page may be taken on this machine. Nothing else is changed.
    const page = readFileSync('docs/writing-drivers.md', 'utf8').replaceAll('4001', String(lamp));
    // Nothing that a reader may type goes unchecked: every block is a file or commands.
    expect(page.replaceAll(block, '').match(fence)).toBeNull();
    let ran = 0;
    for (const { language, file, text } of blocksOf(page)) {
      if (file !== null) {
        const path = join(drivers, file);
        // What `driver new` wrote is what the page shows.
        if (file.startsWith('drivers/lamp/')) expect(readFileSync(path, 'utf8')).toBe(text);
        mkdirSync(dirname(path), { recursive: true });
        writeFileSync(path, text);
      } else {
        expect([language, text]).toEqual(['sh', expect.stringMatching(/^\$ /)]);
        for (const { command, shown } of commandsOf(text)) {
          expect(await shell.run(command), command).toMatch(asPattern(shown));
          ran += 1;
        }
      }
    }
    expect(ran).toBeGreaterThan(15);
    const sources = blocksOf(page).flatMap(({ file }) => (file?.endsWith('.ts') === true ? [file] : []));
    expect([sources.length, typeErrors(drivers, checkout, sources)]).toEqual([10, '']);
  } finally {
    await scope.close();
  }
});
