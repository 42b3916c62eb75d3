import { describe, expect, it } from 'vitest';
import { codeOf } from './support/code.ts';
import { importsOf } from './support/imports.ts';
import { type Line, linesOf, place, read, sourceFiles } from './support/sources.ts';

/** Clock, randomness, I/O and the process are handed in as ports, so that the simulator can be all four. */
type Kind = 'clock' | 'randomness' | 'io' | 'process';

const reasons: Record<Kind, string> = {
  clock: 'take a Clock: what reads the time by itself cannot be simulated, and its tests have to wait',
  randomness: 'take a Random: a run that cannot be repeated cannot be debugged',
  io: 'take a port: files, sockets, threads and processes belong to adapters',
  process: 'take what is needed as an argument: environment, arguments and signals belong to entry files',
};

const calls: Record<Kind, RegExp | null> = {
  clock: /\bDate\.now\b|\bnew Date\(\s*\)|\bperformance\.|\bhrtime\b|\bset(?:Timeout|Interval|Immediate)\(/,
  randomness: /\bMath\.random\b|\brandom(?:Bytes|UUID|Int)\b|\bgetRandomValues\b/,
  io: /\bfetch\(|\bnew (?:Worker|WebSocket)\(/,
  // Not every `process` is that of Node: the simulator and the driver hosts have their own.
  process: /(?<![.#\w])process\.(?:(?:env|argv|exit|exitCode|execPath|cwd|std\w+|hrtime|memoryUsage|nextTick)\b|on(?:ce)?\('|kill\(\w)/,
};

const modules: Record<Kind, RegExp | null> = {
  clock: /^node:(?:timers|perf_hooks)/,
  randomness: null,
  io: /^node:(?:fs|net|tls|http|https|http2|dgram|dns|child_process|worker_threads|cluster|readline|inspector|sqlite)(?:\/|$)/,
  process: /^node:(?:process|os|tty)$/,
};

interface Allowance {
  files: RegExp;
  kinds: readonly Kind[];
  reason: string;
}

/** The only places. One that does not need a kind that it is allowed is refused too. */
const allowances: readonly Allowance[] = [
  {
    files: /^src\/shared\/adapters\//,
    kinds: ['clock', 'randomness', 'io', 'process'],
    reason: 'adapters are where the world is touched',
  },
  { files: /^src\/(?:main|serve|open-store|assemble|local-commands|checks|inspect)\.ts$/, kinds: ['clock', 'io', 'process'], reason: 'entry files of the program' },
  {
    files: /^src\/driver-host\/main\.ts$/,
    kinds: ['clock', 'randomness', 'io', 'process'],
    reason: 'entry file of a driver host process',
  },
  {
    files: /^src\/driver-host\/watchdog\.ts$/,
    kinds: ['clock', 'io', 'process'],
    reason: 'entry file of the thread that ends a stuck driver host',
  },
  {
    files: /^src\/driver-host\/(?:device-socket|dial-udp|http-connection|write-journal)\.ts$/,
    kinds: ['io'],
    reason: 'device sockets and evidence live in the driver host, on purpose not in the node',
  },
  {
    files: /^src\/driver-tools\/(?:driver-files|new-driver)\.ts$/,
    kinds: ['io'],
    reason: 'drivers are files; they are read by driver hosts and by the command line',
  },
  {
    files: /^src\/driver-tools\/(?:driver-files|test-run)\.ts$/,
    kinds: ['process'],
    reason: 'compiled drivers go to the temporary folder of the machine',
  },
  { files: /^src\/driver-tools\/test-run\.ts$/, kinds: ['io'], reason: 'tests of drivers run in a process of the test runner' },
  { files: /^src\/driver-tools\/test-process\.ts$/, kinds: ['io', 'process'], reason: 'tests of drivers may not end it, and say what they throw' },
  {
    files: /^src\/driver-tools\/test-watchdog\.ts$/,
    kinds: ['clock', 'io', 'process'],
    reason: 'entry file of the thread that ends a test which does not end',
  },
  { files: /^src\/driver-sdk\/until-quiet\.ts$/, kinds: ['clock'], reason: 'lets the promises of a driver under test settle: turns of the event loop, no time' },
  {
    files: /^src\/drivers\/mock\/device-(?:main|program)\.ts$/,
    kinds: ['clock', 'io', 'process'],
    reason: 'a program of its own that plays devices',
  },
  { files: /^src\/demo\//, kinds: ['clock', 'io', 'process'], reason: 'the demo starts and breaks real processes' },
  {
    files: /^src\/sim\/timeline\.ts$/,
    kinds: ['clock'],
    reason: 'lets the promises of simulated nodes settle between two moments of simulated time',
  },
  { files: /^src\/sim\/pool\.ts$/, kinds: ['io'], reason: 'plays seeds on several cores' },
  { files: /^src\/sim\/worker\.ts$/, kinds: ['io', 'process'], reason: 'entry file of a thread that plays seeds' },
  { files: /^src\/sim\/model\/worker\.ts$/, kinds: ['io'], reason: 'entry file of the thread that searches the model' },
  {
    files: /^src\/client-sdk\/(?:node-http|browser-transport)\.ts$/,
    kinds: ['clock', 'io'],
    reason: 'the client over what Node and browsers have',
  },
  { files: /^src\/client-sdk\/node-(?:socket|storage)\.ts$/, kinds: ['io'], reason: 'the client over what Node has' },
  {
    files: /^src\/client-sdk\/(?:index|browser)\.ts$/,
    kinds: ['clock', 'randomness'],
    reason: 'entry files of the client SDK: they hand in what applications have',
  },
];

const kinds = Object.keys(reasons) as Kind[];
const allowed = (file: string, kind: Kind): boolean =>
  allowances.some((allowance) => allowance.files.test(file) && allowance.kinds.includes(kind));

interface Use {
  kind: Kind;
  line: Line;
}

function usesOf(file: string, source: string = read(file)): Use[] {
  const original = linesOf(file, source);
  const code = linesOf(file, codeOf(source));
  return kinds.flatMap((kind): Use[] => {
    const called = code.filter(({ text }) => calls[kind]?.test(text)).map((line) => ({ kind, line: original[line.number - 1] ?? line }));
    const imported = importsOf(file, source).filter(({ to }) => modules[kind]?.test(to));
    return [...called, ...imported.map(({ to }) => ({ kind, line: { file, number: 1, text: `import of ${to}` } }))];
  });
}

const uses = sourceFiles().flatMap((file) => usesOf(file));

describe('clock, randomness, input and output', () => {
  it.each(kinds)('%s: only where the world is touched', (kind) => {
    const outside = uses.filter((use) => use.kind === kind && !allowed(use.line.file, kind));
    expect(outside.map(({ line }) => `${place(line)}\n  ${reasons[kind]}`)).toEqual([]);
  });

  it('keeps no allowance that nothing needs', () => {
    const isNeeded = (files: RegExp, kind: Kind): boolean => uses.some((use) => use.kind === kind && files.test(use.line.file));
    const needless = allowances.flatMap(({ files, kinds: granted }) =>
      granted.filter((kind) => !isNeeded(files, kind)).map((kind) => `${String(files)}: ${kind}`),
    );
    expect(needless).toEqual([]);
  });

  it('sees a use in code, and none in prose', () => {
    const source = [
      "import { readFileSync } from 'node:fs';",
      '// Date.now() is banned',
      "const text = 'Math.random()';",
      'const a = `${Date.now()} process.env`;',
      'const b = /setTimeout\\(/;',
      'const c = new Date(5);',
      'const d = this.#process.exit(1);',
      'await sleep(1); setTimeout(go, 1);',
    ].join('\n');
    expect(usesOf('src/x.ts', source).map(({ kind, line }) => `${kind} ${line.number}`)).toEqual(['clock 4', 'clock 8', 'io 1']);
  });
});
