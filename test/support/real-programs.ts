import { type ChildProcess, spawn } from 'node:child_process';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Scope } from '../../src/shared/foundation/scope.ts';

/** Programs of Debian's that none of us wrote, as devices: a UPS server, a media player, an SNMP agent. */

const programs = { upsd: '/lib/nut/upsd', 'dummy-ups': '/lib/nut/dummy-ups', mpd: '/usr/bin/mpd', snmpd: '/usr/sbin/snmpd' } as const;
type Program = keyof typeof programs;

const missing = (Object.keys(programs) as Program[]).filter((name) => !existsSync(programs[name]));
/** Why the tests with real programs cannot run here; empty: they can. */
export const missingPrograms = missing.length === 0 ? '' : `needs ${missing.join(', ')}: apt-get install nut-server mpd snmpd`;

export interface RealProgram {
  readonly port: number;
  /** kill -9, and it is gone. */
  kill(): Promise<void>;
  /** As before, on the same port. */
  start(): Promise<void>;
}

/** A free port of this machine. Somebody else may take it before it is used; the programs cannot choose one themselves. */
async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  server.close();
  await once(server, 'close');
  return port;
}

async function folderFor(scope: Scope, name: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `holdfast-${name}-`));
  scope.defer(`folder of ${name}`, () => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

interface Launch {
  program: Program;
  args: string[];
  env?: Record<string, string>;
}

/** Runs one or more processes as one device; they are started in order and killed in reverse. */
async function run(scope: Scope, launches: Launch[], answers: () => Promise<boolean>, port: number): Promise<RealProgram> {
  let children: ChildProcess[] = [];
  const kill = async (): Promise<void> => {
    for (const child of children.splice(0).reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  };
  const start = async (): Promise<void> => {
    children = launches.map(({ program, args, env }) => spawn(programs[program], args, { env: { ...process.env, ...env }, stdio: 'ignore' }));
    await expect.poll(answers, { timeout: 60_000, interval: 50 }).toBe(true);
  };
  scope.defer(launches.map(({ program }) => program).join(' and '), kill);
  await start();
  return { port, kill, start };
}

/** Sends a text once connected and tells whether the answer starts as it should. */
function asks(port: number, text: string, expected: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(text));
    const done = (value: boolean): void => {
      socket.destroy();
      resolve(value);
    };
    socket.setTimeout(1_000, () => done(false));
    socket.on('data', (chunk) => done(chunk.toString().startsWith(expected)));
    socket.on('error', () => done(false));
    socket.on('close', () => done(false));
  });
}

function answersDatagram(port: number, data: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = dgram.createSocket('udp4');
    const done = (value: boolean): void => {
      clearTimeout(timer);
      socket.removeAllListeners().close();
      resolve(value);
    };
    const timer = setTimeout(() => done(false), 1_000);
    socket.on('message', () => done(true));
    socket.on('error', () => done(false));
    socket.connect(port, '127.0.0.1', () => socket.send(data));
  });
}

export interface Ups extends RealProgram {
  /** What the simulated UPS says from now on, such as `OB` on battery. */
  status(text: string): Promise<void>;
}

/** Network UPS Tools: `upsd` with the UPS `lab`, whose readings come from a file. User `admin`, password `secret`. */
export async function startUps(scope: Scope): Promise<Ups> {
  const folder = await folderFor(scope, 'ups');
  const port = await freePort();
  const readings = join(folder, 'lab.dev');
  const write = (name: string, text: string): Promise<void> => writeFile(join(folder, name), text, { mode: 0o600 });
  const status = (text: string): Promise<void> => writeFile(readings, `ups.status: ${text}\nbattery.charge: 97\nups.model: Lab\n`, { mode: 0o600 });
  await chmod(folder, 0o700);
  await status('OL');
  // `dummy-loop` reads the file again and again.
  await write('ups.conf', `pollinterval = 1\n[lab]\n  driver = dummy-ups\n  port = ${readings}\n  mode = dummy-loop\n`);
  await write('upsd.conf', `LISTEN 127.0.0.1 ${port}\n`);
  await write('upsd.users', '[admin]\n  password = secret\n  actions = SET\n  instcmds = ALL\n');
  const env = { NUT_CONFPATH: folder, NUT_STATEPATH: folder, NUT_ALTPIDPATH: folder };
  const ready = (): Promise<boolean> => asks(port, 'GET VAR lab battery.charge\n', 'VAR lab battery.charge "97"');
  const program = await run(
    scope,
    [
      { program: 'dummy-ups', args: ['-a', 'lab', '-u', 'root', '-D'], env },
      { program: 'upsd', args: ['-F', '-u', 'root'], env },
    ],
    ready,
    port,
  );
  return { ...program, status };
}

/** Music Player Daemon with a silent output and one song, `beep.wav`. */
export async function startPlayer(scope: Scope): Promise<RealProgram> {
  const folder = await folderFor(scope, 'player');
  const port = await freePort();
  const music = join(folder, 'music');
  await mkdir(music);
  await mkdir(join(folder, 'playlists'));
  await writeFile(join(music, 'beep.wav'), silence(600));
  const config = join(folder, 'mpd.conf');
  await writeFile(
    config,
    `music_directory "${music}"
playlist_directory "${join(folder, 'playlists')}"
db_file "${join(folder, 'database')}"
state_file "${join(folder, 'state')}"
bind_to_address "127.0.0.1"
port "${port}"
audio_output {
  type "null"
  name "null"
  sync "yes"
  mixer_type "null"
}
`,
  );
  return run(scope, [{ program: 'mpd', args: ['--no-daemon', '--stderr', config] }], () => asks(port, '', 'OK MPD'), port);
}

/** A WAV file of that many seconds. */
function silence(seconds: number): Buffer {
  const rate = 8_000;
  const bytes = seconds * rate;
  const head = Buffer.alloc(44);
  head.write('RIFF', 0);
  head.writeUInt32LE(36 + bytes, 4);
  head.write('WAVEfmt ', 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(rate, 24);
  head.writeUInt32LE(rate, 28);
  head.writeUInt16LE(1, 32);
  head.writeUInt16LE(8, 34);
  head.write('data', 36);
  head.writeUInt32LE(bytes, 40);
  return Buffer.concat([head, Buffer.alloc(bytes, 128)]);
}

/** A request for the uptime of an agent, in community `public`. */
const uptime = Buffer.from('302602010104067075626c6963a019020101020100020100300e300c06082b060102010103000500', 'hex');

/** An SNMP agent (version 2c) that anybody on loopback may read and write: communities `public` and `private`. */
export async function startAgent(scope: Scope): Promise<RealProgram> {
  const folder = await folderFor(scope, 'agent');
  const port = await freePort();
  // Of another name than the file that the agent keeps its state in, and moves away at each start.
  const config = join(folder, 'agent.conf');
  await writeFile(config, 'rocommunity public 127.0.0.1\nrwcommunity private 127.0.0.1\nsysName lab-agent\n');
  const args = ['-f', '-C', '-c', config, '-Ln', '-I', '-smux', `-p`, join(folder, 'pid'), `udp:127.0.0.1:${port}`];
  return run(scope, [{ program: 'snmpd', args, env: { SNMP_PERSISTENT_DIR: folder, MIBS: '' } }], () => answersDatagram(port, uptime), port);
}
