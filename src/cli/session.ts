import type { Command } from 'commander';
import type { Client } from '../client-sdk/index.ts';
import type { CliDeps } from './deps.ts';
import { CliFailure, usageFailure } from './failures.ts';
import { cleanLines, json, painter, table } from './format.ts';
import type { Cell, Paint } from './format.ts';

export interface GlobalOptions {
  server?: string;
  key?: string;
  output: 'table' | 'json';
}

export interface Danger {
  yes?: boolean;
  dryRun?: boolean;
}

const DEFAULT_SERVER = 'http://127.0.0.1:8080';

/** What one run of the command line shares between its parts. */
export class Session {
  readonly deps: CliDeps;
  readonly paint: Paint;
  readonly #options: () => GlobalOptions;
  #client: Client | null = null;

  constructor(deps: CliDeps, options: () => GlobalOptions) {
    this.deps = deps;
    this.#options = options;
    // https://no-color.org: any value but an empty one counts.
    this.paint = painter(deps.stdout.isTTY && (deps.env['NO_COLOR'] ?? '') === '' && deps.env['TERM'] !== 'dumb');
  }

  get asJson(): boolean {
    return this.#options().output === 'json';
  }

  /** Did somebody name a server? */
  get serverNamed(): boolean {
    return (this.#options().server ?? this.deps.env['HOLDFAST_SERVER'] ?? '') !== '';
  }

  /** The client of the server that the options or the environment name. */
  async client(): Promise<Client> {
    this.#client ??= await this.clientOf(this.#options().server ?? (this.deps.env['HOLDFAST_SERVER'] || DEFAULT_SERVER));
    return this.#client;
  }

  /** A client of another server, with the same key. The caller closes it. */
  async clientOf(server: string): Promise<Client> {
    const { env } = this.deps;
    const { key } = this.#options();
    const origin = originOf(server);
    const caFile = env['HOLDFAST_CA'];
    const ca = caFile === undefined || caFile === '' ? {} : { ca: await this.deps.readFile(caFile) };
    const apiKey = key === undefined ? keyOf('HOLDFAST_KEY', env['HOLDFAST_KEY'] ?? '') : keyOf('--key', key);
    return this.deps.createClient({ origin, apiKey, signal: this.deps.signal, ...ca });
  }

  close(): void {
    this.#client?.close();
  }

  /** A result: the value with `-o json`, otherwise what `text` makes of it. */
  result(value: unknown, text: () => string): void {
    this.deps.stdout.write(this.asJson ? `${json(value, 2)}\n` : text());
  }

  /** For the person, not for the program that reads the result. */
  note(text: string): void {
    this.deps.stderr.write(`${cleanLines(text)}\n`);
  }

  table(headings: string[], rows: Cell[][]): string {
    return table(headings, rows, this.paint);
  }

  /** Before anything is asked of the server: can this command be confirmed at all? */
  requireConfirmable({ yes, dryRun }: Danger): void {
    if (yes === true || dryRun === true || this.deps.stdin.isTTY) return;
    throw usageFailure('this needs a confirmation, and nobody is at the terminal', 'repeat it with --yes, or with --dry-run to see what it would do');
  }

  /** Asks, unless told `--yes`. Throws when the answer is no. `preview` ends with a line end and is already clean. */
  async confirm(question: string, preview: string, { yes }: Danger): Promise<void> {
    if (yes === true) return;
    this.deps.stderr.write(preview);
    const answer = await this.deps.stdin.ask(`${question} [y/N] `);
    if (!/^y(es)?$/i.test(answer.trim())) throw new CliFailure('not confirmed; nothing was changed', 'answer y, or repeat it with --yes');
  }
}

/** The options of every command that changes what somebody may regret. */
export const dangerous = (command: Command): Command =>
  command.option('--yes', 'do not ask').option('--dry-run', 'show what would happen, change nothing');

/** Of a file it may have a line end; what else no header can carry is refused here, where its name is known. */
function keyOf(name: string, text: string): string | null {
  const key = text.trim();
  if (/^[\x21-\x7e]*$/.test(key)) return key === '' ? null : key;
  throw usageFailure(`${name} holds a space, a line end or another character that no key has`, `set ${name} to the one line that \`holdfast key add\` printed`);
}

function originOf(text: string): string {
  const next = 'write such as http://127.0.0.1:8080 or https://master.example.org:8080';
  if (!URL.canParse(text)) throw usageFailure(`"${text}" is not the address of a server`, next);
  const url = new URL(text);
  if ((url.protocol !== 'http:' && url.protocol !== 'https:') || url.pathname !== '/' || url.search !== '' || url.username !== '') {
    throw usageFailure(`"${text}" is not the address of a server`, next);
  }
  const loopback = url.hostname === 'localhost' || url.hostname === '[::1]' || url.hostname.startsWith('127.');
  if (url.protocol === 'http:' && !loopback) {
    throw usageFailure('http:// would show the key to the network; it is for this machine only', `use https://${url.host}`);
  }
  return url.origin;
}
