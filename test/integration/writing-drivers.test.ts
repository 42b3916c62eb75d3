import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
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

const asPattern = (shown: string): RegExp =>
  new RegExp(`^${shown.split('…').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)).join('.*')}$`);

it('docs/writing-drivers.md leads from nothing to a driver that runs, word for word', { timeout: 400_000 }, async () => {
  const scope = new Scope();
  try {
    const home = folder();
    const bin = join(home, 'bin');
    mkdirSync(bin);
    // As npm links it.
    symlinkSync(resolve('dist/main.js'), join(bin, 'holdfast'));
    symlinkSync(process.execPath, join(bin, 'node'));
    const [http, link, lamp] = [await freePort(), await freePort(), await freePort()];
    const addresses = { HOLDFAST_HTTP: `127.0.0.1:${http}`, HOLDFAST_LINK: `127.0.0.1:${link}`, HOLDFAST_SERVER: `http://127.0.0.1:${http}` };
    const shell = new Shell(home, { PATH: `${bin}:${process.env['PATH']}`, HOME: home, ...addresses });
    scope.defer('shell', () => shell.close());
    // The ports of the page may be taken on this machine. Nothing else is changed.
    const page = readFileSync('docs/writing-drivers.md', 'utf8').replaceAll('4001', String(lamp));
    // Nothing that a reader may type goes unchecked: every block is a file or commands.
    expect(page.replaceAll(block, '').match(fence)).toBeNull();
    let ran = 0;
    for (const { language, file, text } of blocksOf(page)) {
      if (file !== null) {
        const path = join(home, 'try-drivers', file);
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
    expect(ran).toBeGreaterThan(14);
  } finally {
    await scope.close();
  }
});
