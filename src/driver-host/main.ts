import { Console } from 'node:console';
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';
import { Writable } from 'node:stream';
import { Worker } from 'node:worker_threads';
import { z } from 'zod';
import type { Driver } from '../driver-sdk/index.ts';
import { runningModule } from '../driver-sdk/module.ts';
import { DriverFolder } from '../driver-tools/driver-files.ts';
import { builtinDrivers } from '../drivers/index.ts';
import { createSystemClock } from '../shared/adapters/clock/system-clock.ts';
import { JsonLines } from '../shared/adapters/host-process/json-lines.ts';
import { tuneV8 } from '../shared/adapters/v8/tune-v8.ts';
import { stackOfThrown, textOfThrown } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import { type LastWords, toHostSchema } from '../shared/runtime/driver-hosts/messages.ts';
import { createDriverSource } from './driver-source.ts';
import { DriverHost } from './host.ts';
import { beat, createBlame, createShared, readCulprit } from './pulse.ts';
import { watchTimers } from './timers.ts';
import { WriteJournal } from './write-journal.ts';

tuneV8();

/** Entry of a driver host: runs drivers and owns their device sockets, talks to its node over file descriptor 3. */
const PIPE = 3;
const BEAT_MS = 250;
const endProcess = process.exit.bind(process);

const setup = z
  .strictObject({
    writeLog: z.string().nullable(),
    nodeId: z.string(),
    driversModule: z.string().nullable(),
    driversFolder: z.string().nullable(),
    /** How the folders begin in which code lies while it is loaded: the node removes what is left of them. */
    codePlace: z.string(),
  })
  .parse(JSON.parse(process.argv[2] ?? ''));

const shared = createShared();
// The path is that of the compiled file: driver hosts run compiled code only.
const watchdog = new Worker(new URL('./watchdog.js', import.meta.url), { workerData: shared });
const watching = once(watchdog, 'message');
watchdog.unref();
setInterval(() => beat(shared), BEAT_MS);
watchTimers();

const drivers = new Map<string, Driver>(Object.entries(builtinDrivers));
if (setup.driversModule !== null) {
  // Given by whoever started the node, not by its users.
  const more = (await import(setup.driversModule)) as { drivers: Driver[] };
  for (const driver of more.drivers) drivers.set(driver.name, driver);
}
const folder = setup.driversFolder === null ? null : new DriverFolder(setup.driversFolder, setup.codePlace);

// No driver runs that nobody watches.
await watching;
const clock = createSystemClock();
const handler = {
  message: (message: unknown) => host.receive(toHostSchema.parse(message)),
  drained: () => host.drained(),
  ended: () => {
    host.abandon();
    endProcess(0);
  },
};
const socket = new net.Socket({ fd: PIPE, readable: true, writable: true });
const pipe = new JsonLines(socket, handler, { clock, restMs: limits.statusRestMs });
const host = new DriverHost({
  clock,
  random: { next: Math.random },
  drivers: createDriverSource(drivers, folder, setup.codePlace),
  journal: new WriteJournal({ file: setup.writeLog, nodeId: setup.nodeId }),
  pipe,
  entered: createBlame(shared),
});
pipe.send({ t: 'ready' });

/** What was reported before counts. */
function abandon(): void {
  pipe.flush();
  host.abandon();
}

/** The node keeps the end of what is said, and all of this line has to be in it, however its problem is written as JSON. */
function sayLast({ problem, ...words }: LastWords): void {
  writeSync(2, `\n${JSON.stringify({ ...words, problem: problem.slice(0, limits.hostLastWordsBytes / 8) })}\n`);
}

/** Location and module of the driver code that runs now, for its log lines; empty when it is nobody's. */
const running = (): { location: string; module: string } => {
  const module = runningModule();
  const key = module === null ? null : host.keyOf(module);
  return { location: key?.split('/')[0] ?? '', module: module?.spec.id ?? '' };
};

// What a driver prints becomes log lines: a pipe that nobody reads would block this process.
const printed = (level: 'info' | 'warn') =>
  new Writable({
    write: (chunk: Buffer, _, done) => {
      host.log({ ...running(), level, message: chunk.toString().trimEnd() });
      done();
    },
  });
globalThis.console = new Console(printed('info'), printed('warn'));

// The state of a driver that threw out of a callback is unknown, and it shares this process: start clean.
process.on('uncaughtException', (error: unknown) => {
  const module = runningModule();
  const culprit = module === null ? null : host.keyOf(module);
  sayLast({ lastWords: 'crashed', culprit, problem: stackOfThrown(error) });
  abandon();
  endProcess(1);
});
// A process that ends by itself is a driver's doing: it is to be named.
const exitOf = (name: 'exit' | 'abort' | 'kill') => (): never => {
  const module = runningModule();
  const culprit = module === null ? readCulprit(shared) : host.keyOf(module);
  sayLast({ lastWords: 'exited', culprit, problem: `the driver called process.${name}` });
  abandon();
  return endProcess(1);
};
process.exit = exitOf('exit');
process.abort = exitOf('abort');
const killProcess = process.kill.bind(process);
process.kill = (pid, signal) => {
  const isOwn = pid === 0 || Math.abs(pid) === process.pid;
  return isOwn && signal !== 0 ? exitOf('kill')() : killProcess(pid, signal);
};
// Also for those that import `exit` by its name.
syncBuiltinESMExports();
process.on('unhandledRejection', (reason) => {
  host.log({ ...running(), level: 'error', message: `unhandled rejection: ${textOfThrown(reason)}` });
});
// Terminals and supervisors signal every process of the group. The node decides, and the end of the pipe tells.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined);
