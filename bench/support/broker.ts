import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createSystemRandom } from '../../src/shared/adapters/random/system-random.ts';
import { openServerIdentity } from '../../src/shared/adapters/tls/certificates.ts';
import { poll } from './poll.ts';

/** Debian puts servers where the path of ordinary users does not lead. */
const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` };

export const isInstalled = (program: string): boolean => spawnSync('which', [program], { env }).status === 0;

/** A broker of the distribution, on a port of loopback. */
export class Broker {
  readonly port: number;
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess, port: number) {
    this.#process = process;
    this.port = port;
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  static async nats(folder: string, options: { tls: boolean }): Promise<Broker> {
    const files = await certificate(folder);
    const tls = options.tls ? ['--tls', '--tlscert', files.cert, '--tlskey', files.key] : [];
    return Broker.#start((port) => ['nats-server', '-a', '127.0.0.1', '-p', String(port), ...tls]);
  }

  static async mosquitto(folder: string): Promise<Broker> {
    const file = join(folder, 'mosquitto.conf');
    return Broker.#start(async (port) => {
      await writeFile(file, `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\nlog_type none\n`);
      return ['mosquitto', '-c', file];
    });
  }

  static async #start(command: (port: number) => string[] | Promise<string[]>): Promise<Broker> {
    const port = await freePort();
    const [program = '', ...args] = await command(port);
    const broker = new Broker(spawn(program, args, { env, stdio: 'ignore' }), port);
    await poll(`${program} listens`, async () => {
      const socket = connect(port, '127.0.0.1');
      const open = await Promise.race([once(socket, 'connect').then(() => true), once(socket, 'close').then(() => null)]).catch(() => null);
      socket.destroy();
      return open;
    });
    return broker;
  }

  async stop(): Promise<void> {
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await exited;
  }
}

/** PEM files for a server on loopback. */
export async function certificate(folder: string): Promise<{ cert: string; key: string }> {
  const { chain, key } = await openServerIdentity({ folder, hosts: ['127.0.0.1'], random: createSystemRandom(), wallMs: Date.now() });
  const files = { cert: join(folder, 'bench-cert.pem'), key: join(folder, 'bench-key.pem') };
  await writeFile(files.cert, chain);
  await writeFile(files.key, key, { mode: 0o600 });
  return files;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
