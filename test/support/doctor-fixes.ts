import { execFileSync } from 'node:child_process';
import { expect } from 'vitest';
import type { Finding } from '../../src/cli/doctor/finding.ts';
import type { CliResult } from './cli-run.ts';

/** Commands in what the doctor says to do: they stand between backticks. */
export const commandsIn = (fix: string): string[] => [...fix.matchAll(/`([^`]+)`/g)].map(([, line = '']) => line);

/** A person has to fill something in. */
export const hasPlaceholder = (line: string): boolean => /<[a-z]+>/.test(line);

/** The words that a shell makes of a line. */
export const shellWords = (line: string): string[] => execFileSync('sh', ['-c', `printf '%s\\n' ${line}`], { encoding: 'utf8' }).trimEnd().split('\n');

type Runner = 'here' | 'federation';
interface Run {
  by: Runner;
  lines: string[];
}
/** With the CLI in process, a test server and data directories: test/unit/cli-doctor.test.ts. */
const here = (...lines: string[]): Run => ({ by: 'here', lines });
/** With a federation of real processes: test/integration/doctor.test.ts. */
const federation = (...lines: string[]): Run => ({ by: 'federation', lines });

const KEY_IS_ELSEWHERE = 'only a person has the key that is missing, or the values';
const DOCUMENT = 'what the document is to say is for a person to write';
const CABLES = 'a line or a process is mended by hands';
const DATABASE = 'it is done at the database';

/**
 * Every fault that the doctor names: how the lines begin that a test runs as they were printed, after which the finding is
 * gone; or why no test does.
 */
export const mending = {
  'Node is too old': 'another version of Node has to be installed',
  'a variable is misspelled': 'what was meant is for a person to say',
  'the data directory is gone': here('mkdir'),
  'the data directory cannot be written to': 'who runs the server is for a person to say',
  'the data directory is read-only': 'which file system is to be written to is for a person to say',
  'the data directory is a file': 'which directory was meant is for a person to say',
  'the write log cannot be opened': 'which file was meant is for a person to say',
  'others may read the data directory': here('chmod'),
  'the disk is nearly full': 'what can be spared is for a person to say',
  'the disk gets full': 'what can be spared is for a person to say',
  'the documents of a master are damaged': federation('holdfast restore'),
  'the documents of an edge are damaged': federation('rm'),
  'the copy of a database is damaged': here('rm'),
  'the journal is damaged': federation('mkdir', 'holdfast status'),
  'the credentials of an edge are damaged': federation('mkdir', 'holdfast edge rotate'),
  'the credentials of a master are damaged': 'a copy is put back by hand; anew it is the same as for each location without an edge',
  'the journal is gone while there are credentials': 'a start makes it anew, as after a damaged one was moved away',
  'the certificate of an edge ends': 'the link renews it by itself',
  'the certificate of a master has ended': 'a start renews it',
  'the CA cannot be read': 'only a person has the copy',
  'the CA ends': 'a new CA is made by hand',
  'a location has no enrolled edge': federation('holdfast edge add'),
  'an enrolled edge has no location': federation('holdfast edge revoke'),
  'an edge was never enrolled': 'whose edge it is to be is for a person to say',
  'no administrator is left': 'which backup is old enough is for a person to say',
  "the first administrator's key still lies about": here('holdfast key revoke', 'rm'),
  'a server with sealed values has no key': KEY_IS_ELSEWHERE,
  'values are sealed with a key that is no longer listed': KEY_IS_ELSEWHERE,
  'others may read the settings keys': here('chmod'),
  'the settings keys cannot be read': 'what is wrong in the file is for a person to see',
  'the file of settings keys is not there': here('holdfast settings new-key'),
  'the SDK is not installed': 'tests install nothing',
  'the database is away': DATABASE,
  'the password of the database is wrong': DATABASE,
  'the bucket is missing': DATABASE,
  'the scope is missing': DATABASE,
  'replicas make durable writes impossible': DATABASE,
  'nothing is replicated to the database': `${DATABASE}; test/containers and test/contracts run holdfast xdcr`,
  'the disk of the database is full': DATABASE,
  'the database refuses for another reason': DATABASE,
  'an index disagrees with the documents': `${DATABASE}; test/contracts/couchbase-repair.test.ts rebuilds indexes`,
  'a document in the database is damaged': DOCUMENT,
  'a driver of the folder is broken': here('holdfast driver check'),
  'the folder of drivers cannot be read': 'which folder was meant is for a person to say',
  'a port is taken': 'which of the two programs is to have it is for a person to say',
  'an address is not of this machine': 'which address was meant is for a person to say',
  'a port may not be listened on': 'which port was meant is for a person to say',
  'the master cannot be reached': CABLES,
  'the master is another one': 'which master was meant is for a person to say',
  'a window is in no time zone': DOCUMENT,
  'a system lists a missing module': DOCUMENT,
  'a module is in no system': DOCUMENT,
  'a driver document is missing': DOCUMENT,
  'a driver document names an unknown driver': DOCUMENT,
  'a driver document names a driver that is like no other': DOCUMENT,
  'two modules keep a connection to one device': DOCUMENT,
  'a device is not connected': CABLES,
  'a module does not work': DOCUMENT,
  'a logic module does not work': DOCUMENT,
  'the server does not answer': CABLES,
  'a running server lacks a key of sealed settings': KEY_IS_ELSEWHERE,
  'an edge lacks a key of sealed settings': KEY_IS_ELSEWHERE,
  'the server is starting': 'it ends by itself',
  'no edge has ever connected': federation('holdfast edge add'),
  'the link is down': CABLES,
  'the link is down, seen from the edge': CABLES,
  'an edge is refused for want of an enrolment': federation('holdfast edge add'),
  'two machines have one identity': 'which of the two is to go on is for a person to say',
  'an edge is refused for another reason': 'who stands in the middle is for a person to find',
  'the master refuses this edge': 'it is the same as at the master, which says why',
  'driver hosts end again and again': 'what is wrong with the driver, or the machine, is for a person to see',
  'driver hosts of an edge end again and again': 'what is wrong with the driver, or the machine, is for a person to see',
  'a location could not be made': 'what is wrong with the disk is for a person to see',
  'control is changing hands': 'it ends by itself',
  'a move of control does not end': 'the commands are those of a location that nobody holds',
  'nobody holds': federation('holdfast location takeover', 'holdfast status'),
  'nobody holds while failover is off': CABLES,
  'control waits at the master': federation('holdfast location handback', 'holdfast window open'),
  'control waits at the master, seen from the edge': federation('holdfast location handback'),
  'control waits at the master during a hold-down': 'it is the order of control that waits at the master',
  'a location is paused': federation('holdfast location resume'),
  'a hold-down runs': 'only time ends it',
  'a hold-down runs while the master holds': 'only time ends it; the order that goes before it is that of control that waits at the master',
  'modules fail': 'what is wrong with each is for a person to see',
  'modules fail of which nobody knows which': 'what is wrong with each is for a person to see',
  'modules fail of which only the edge knows': 'what is wrong with each is for a person to see',
  'the drivers are not those of the wanted commit': 'what is wrong with the repository is for a person to see',
  'a window never opens': DOCUMENT,
  'edited code': federation('holdfast driver reload'),
  'edited code that no module names yet': 'the next look names the driver',
  'both sides held': 'it is over; the history says when it was',
  'both sides hold now': CABLES,
  'the clock of an edge is wrong': 'tests leave the clock of their machine alone',
  'an edge is behind with its documents': 'a restart pulls them anew',
  'the copy of an edge is old': DATABASE,
  'the documents of the server are old': DATABASE,
  'the API of an edge is not reached': 'which address clients reach is for a person to say',
  'an edge announces an address of its own machine': 'which address clients reach is for a person to say',
} satisfies Record<string, string | Run>;

export type Fault = keyof typeof mending;

export const isFault = (text: string): text is Fault => Object.hasOwn(mending, text);

/** How the lines begin that a test runs for a fault; empty if none does. */
export function linesFor(fault: Fault): string[] {
  const entry: string | Run = mending[fault];
  return typeof entry === 'string' ? [] : entry.lines;
}

const key = (fault: Fault, line: string): string => `${fault}: ${line}`;

/** What a file has to run. */
export const linesRunBy = (runner: Runner): string[] =>
  Object.keys(mending).filter(isFault).flatMap((fault) => {
    const entry: string | Run = mending[fault];
    return typeof entry === 'string' || entry.by !== runner ? [] : entry.lines.map((line) => key(fault, line));
  });

const isBad = ({ verdict }: Finding): boolean => verdict !== 'ok';
export const textOf = ({ check, found }: Finding): string => `${check}: ${found}`;
export const badOf = (findings: readonly Finding[]): string[] => findings.filter(isBad).map(textOf);

interface Mending {
  fault: Fault;
  /** The finding, by its `check: found`. */
  found: RegExp;
  /** Of several ways one: how its line begins. */
  only?: string;
  /** What a person fills in. */
  fill?: Readonly<Record<string, string>>;
}

interface World {
  look(): Promise<Finding[]>;
  /** One line of `holdfast …`, as the words that a shell makes of it. */
  holdfast(words: readonly string[]): Promise<CliResult>;
  /** What a person does with what was printed. */
  meanwhile?(printed: string[]): Promise<void>;
  /** Findings that go with the ones named: the same fault, seen from elsewhere. */
  alsoGone?: RegExp;
  /** What was found before the damage was done that hid it. */
  hidden?: readonly string[];
}

/** Runs what the doctor prints, word for word, and remembers what it ran. */
export class Mender {
  readonly ran = new Set<string>();

  /** Afterwards each of these findings is gone, and there is no other than before. */
  async mend(mendings: readonly Mending[], { look, holdfast, meanwhile, alsoGone, hidden = [] }: World): Promise<void> {
    const before = (await look()).filter(isBad);
    const printed: string[] = [];
    const gone = new Set(before.filter((finding) => alsoGone?.test(textOf(finding))).map(textOf));
    expect(before.map(textOf)).toEqual(expect.arrayContaining(mendings.map(({ found }) => expect.stringMatching(found) as string)));
    for (const { fault, found, only, fill = {} } of mendings) {
      const finding = before.find((one) => found.test(textOf(one)));
      if (finding === undefined) continue;
      gone.add(textOf(finding));
      for (const line of only === undefined ? linesFor(fault) : [only]) {
        printed.push(await this.#run({ fault, line, fix: finding.fix ?? '', fill }, holdfast));
      }
    }
    await meanwhile?.(printed);
    const left = [...hidden, ...before.map(textOf).filter((text) => !gone.has(text))];
    await expect.poll(async () => badOf(await look()), { timeout: 60_000, interval: 100 }).toEqual(left);
  }

  async #run({ fault, line, fix, fill }: { fault: Fault; line: string; fix: string; fill: Readonly<Record<string, string>> }, holdfast: World['holdfast']): Promise<string> {
    const filled = commandsIn(fix).map((command) => Object.entries(fill).reduce((text, [name, value]) => text.replaceAll(name, value), command));
    const whole = filled.find((command) => command.startsWith(line) && !hasPlaceholder(command)) ?? '';
    expect(whole, `${line} in ${fix}`).not.toBe('');
    this.ran.add(key(fault, line));
    if (!whole.startsWith('holdfast ')) return execFileSync('sh', ['-c', whole], { encoding: 'utf8' });
    const { code, out, err } = await holdfast(shellWords(whole).slice(1));
    expect(code, `${whole}\n${err}`).toBe(0);
    return out;
  }
}
