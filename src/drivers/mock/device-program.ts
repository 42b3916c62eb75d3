import dgram from 'node:dgram';
import { appendFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import { z } from 'zod';

/** How a device misbehaves. All of it can be changed while it runs. */
export interface DeviceScript {
  /** Answers come this much later. */
  delayMs: number;
  /** Nobody listens at the port. */
  refuse: boolean;
  /** Each connection is reset after that many received bytes; null: never. */
  dropAfterBytes: number | null;
  /** One connection only: a second one is reset. */
  single: boolean;
  /** Takes commands, answers nothing. */
  mute: boolean;
}

/** How devices are spoken to. HTTP: `POST /command` with the line as body. UDP: a datagram is a line. */
export type DeviceProtocol = { kind: 'tcp' | 'udp' | 'http' } | { kind: 'tls' | 'https'; cert: string; key: string };

export interface MockDevicesOptions {
  /** How many devices; each has its own port. */
  ports: number;
  /** TCP unless told. */
  protocol?: DeviceProtocol;
  host?: string;
  /** First port; 0: any free ones. */
  basePort?: number;
  /** Port of the control channel (0: any); null: none. */
  controlPort?: number | null;
  /** Every connection and every chunk received is appended here as a line of JSON; null: nowhere. */
  log?: string | null;
  script?: Partial<DeviceScript>;
}

export interface MockDevices {
  ports: number[];
  controlPort: number | null;
  close(): Promise<void>;
}

/** One line of the log. `monotonicMs` has the same zero in every process of the machine. */
export interface DeviceLogLine {
  device: number;
  /** Counts the connections of the device. */
  connection: number;
  event: 'open' | 'refused' | 'data' | 'closed';
  bytes: number;
  /** What came; of `closed`: `reset` or `ended`. */
  data: string;
  wallMs: number;
  monotonicMs: number;
}

type Recorder = (line: Omit<DeviceLogLine, 'wallMs' | 'monotonicMs'>) => void;

const controlSchema = z.strictObject({
  /** null: all. */
  device: z.int().min(0).nullable().default(null),
  delayMs: z.int().min(0).optional(),
  refuse: z.boolean().optional(),
  dropAfterBytes: z.int().min(0).nullable().optional(),
  single: z.boolean().optional(),
  mute: z.boolean().optional(),
  /** Sends `event <name> <json>` on every connection. */
  push: z.strictObject({ name: z.string(), value: z.json() }).optional(),
});
type ControlOrder = z.output<typeof controlSchema>;

const MAX_LINE = 1024 * 1024;
/** More than a driver takes. */
const MAX_ANSWER = 8 * 1024 * 1024;

const goodBehaviour: DeviceScript = { delayMs: 0, refuse: false, dropAfterBytes: null, single: false, mute: false };

/** Serves simulated devices: what they were told is on record, and how they behave is up to a script. */
export async function startMockDevices(options: MockDevicesOptions): Promise<MockDevices> {
  const { host = '127.0.0.1', basePort = 0, controlPort = null, log = null } = options;
  const record: Recorder = (line) => {
    if (log === null) return;
    const stamped: DeviceLogLine = { ...line, wallMs: Date.now(), monotonicMs: Number(process.hrtime.bigint()) / 1e6 };
    appendFileSync(log, `${JSON.stringify(stamped)}\n`);
  };
  const devices: MockDevice[] = [];
  for (let index = 0; index < options.ports; index += 1) {
    const script = { ...goodBehaviour, ...options.script };
    const device = new MockDevice({ index, record, script, protocol: options.protocol ?? { kind: 'tcp' } });
    await device.listen(host, basePort === 0 ? 0 : basePort + index);
    devices.push(device);
  }
  const control = controlPort === null ? null : await serveControl(host, controlPort, devices);
  return {
    ports: devices.map(({ port }) => port),
    controlPort: control?.port ?? null,
    close: async () => {
      await control?.close();
      for (const device of devices) device.close();
    },
  };
}

interface MockDeviceOptions {
  index: number;
  record: Recorder;
  script: DeviceScript;
  protocol: DeviceProtocol;
}

class MockDevice {
  readonly #index: number;
  readonly #record: Recorder;
  readonly #script: DeviceScript;
  readonly #protocol: DeviceProtocol;
  readonly #values = new Map<string, string>([['power', 'false']]);
  readonly #open = new Set<net.Socket>();
  #server: net.Server | dgram.Socket | null = null;
  #connections = 0;
  #host = '';
  port = 0;

  constructor({ index, record, script, protocol }: MockDeviceOptions) {
    this.#index = index;
    this.#record = record;
    this.#script = script;
    this.#protocol = protocol;
  }

  async listen(host: string, port: number): Promise<void> {
    this.#host = host;
    this.port = port;
    if (this.#script.refuse && port !== 0) return;
    const server = this.#createServer();
    this.port = await listen(server, host, port);
    this.#server = server;
    if (this.#script.refuse) this.#unlisten();
  }

  #createServer(): net.Server | dgram.Socket {
    const protocol = this.#protocol;
    switch (protocol.kind) {
      case 'tcp':
        return net.createServer({ noDelay: true }, (socket) => this.#accept(socket));
      case 'tls': {
        // Who refuses the certificate is on record too: the connection, and that no command came.
        return tls.createServer(protocol, (socket) => this.#accept(socket)).on('tlsClientError', () => undefined);
      }
      case 'http':
        return this.#countSockets(http.createServer((request, response) => void this.#respond(request, response)));
      case 'https':
        return this.#countSockets(https.createServer(protocol, (request, response) => void this.#respond(request, response)));
      case 'udp': {
        const socket = dgram.createSocket('udp4');
        const note = this.#noteOf(0);
        return socket.on('message', (line, from) => {
          note('data', line.toString('latin1'));
          this.#command(line.toString('latin1').trimEnd(), (answer) => socket.send(`${answer}\n`, from.port, from.address));
        });
      }
    }
  }

  #countSockets(server: http.Server): http.Server {
    return server.on('connection', (socket: net.Socket) => {
      this.#open.add(socket);
      const note = this.#noteOf((this.#connections += 1));
      note('open');
      socket.on('close', (failed) => {
        this.#open.delete(socket);
        note('closed', failed ? 'reset' : 'ended');
      });
    });
  }

  async #respond(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const { authorization = '' } = request.headers;
    this.#noteOf(this.#connections)('data', `${request.method} ${request.url} ${authorization} ${body}`);
    if (request.url?.startsWith('/away') === true) response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end();
    else if (request.url?.startsWith('/large') === true) response.end(Buffer.alloc(MAX_ANSWER, 'x'));
    else this.#command(body, (answer) => response.end(answer));
  }

  #noteOf(connection: number): (event: DeviceLogLine['event'], data?: string) => void {
    return (event, data = '') =>
      this.#record({ device: this.#index, connection, event, bytes: event === 'data' ? data.length : 0, data });
  }

  async apply(order: ControlOrder): Promise<void> {
    const { device: _, push, ...changes } = order;
    const before = this.#script.refuse;
    Object.assign(this.#script, changes);
    if (this.#script.refuse && !before) this.#unlisten();
    if (!this.#script.refuse && before) await this.listen(this.#host, this.port);
    if (push === undefined) return;
    for (const socket of this.#open) socket.write(`event ${push.name} ${JSON.stringify(push.value)}\n`);
  }

  close(): void {
    for (const socket of this.#open) socket.destroy();
    this.#unlisten();
  }

  /** Only the port goes; connections live on, which is why the end of `close` is not awaited. */
  #unlisten(): void {
    this.#server?.close();
    this.#server = null;
  }

  #accept(socket: net.Socket): void {
    const note = this.#noteOf((this.#connections += 1));
    socket.on('error', () => undefined);
    if (!this.#script.single || this.#open.size === 0) return this.#serve(socket, note);
    // The end of the old connection may lie in the same batch of events as this new one: a device sees them in order.
    setImmediate(() =>
      setImmediate(() => {
        if (this.#open.size === 0) return this.#serve(socket, note);
        note('refused');
        cut(socket);
      }),
    );
  }

  #serve(socket: net.Socket, note: (event: DeviceLogLine['event'], data?: string) => void): void {
    this.#open.add(socket);
    note('open');
    let received = 0;
    let rest = '';
    socket.on('close', (failed) => {
      this.#open.delete(socket);
      note('closed', failed ? 'reset' : 'ended');
    });
    socket.on('data', (chunk) => {
      note('data', chunk.toString('latin1'));
      received += chunk.length;
      const limit = this.#script.dropAfterBytes;
      if (limit !== null && received >= limit) {
        cut(socket);
        return;
      }
      // Bytes, not text: a character may be cut in two by the chunks.
      const lines = (rest + chunk.toString('latin1')).split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > MAX_LINE) cut(socket);
      for (const line of lines) {
        this.#command(line, (answer) => {
          if (!socket.destroyed) socket.write(`${answer}\n`, 'latin1');
        });
      }
    });
  }

  #command(line: string, reply: (answer: string) => void): void {
    if (this.#script.mute) return;
    const [verb = '', ...words] = line.split(' ');
    const answer = this.#answer(verb, words);
    const delayMs = this.#script.delayMs + (verb === 'slow' ? Number(words[0] ?? 0) : 0);
    if (delayMs > 0) setTimeout(() => reply(answer), delayMs);
    else reply(answer);
  }

  #answer(verb: string, words: string[]): string {
    const [name = '', ...rest] = words;
    switch (verb) {
      case 'power':
        this.#values.set('power', String(name === 'on'));
        return `ok power ${name}`;
      case 'set':
        this.#values.set(name, rest.join(' '));
        return `ok set ${name} ${rest.join(' ')}`;
      case 'get':
        return `ok get ${name} ${this.#values.get(name) ?? 'null'}`;
      case 'echo':
      case 'slow':
        return `ok ${verb} ${words.join(' ')}`;
      case 'ping':
        return 'ok ping';
      case 'fail':
        return 'error fail it was asked to';
      default:
        return `error ${verb} unknown command`;
    }
  }
}

/** Lines of JSON, each answered by one: `{"ok":true}` or `{"ok":false,"problem":"…"}`. */
async function serveControl(
  host: string,
  port: number,
  devices: MockDevice[],
): Promise<{ port: number; close: () => Promise<void> }> {
  const open = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    let rest = '';
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > MAX_LINE) socket.destroy();
      for (const line of lines) void obey(line, devices).then((answer) => socket.write(`${JSON.stringify(answer)}\n`));
    });
  });
  const bound = await listen(server, host, port);
  return {
    port: bound,
    close: async () => {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function obey(line: string, devices: MockDevice[]): Promise<{ ok: boolean; problem?: string }> {
  try {
    const order = controlSchema.parse(JSON.parse(line));
    const chosen = order.device === null ? devices : devices.slice(order.device, order.device + 1);
    if (chosen.length === 0) return { ok: false, problem: `there is no device ${order.device}` };
    await Promise.all(chosen.map((device) => device.apply(order)));
    return { ok: true };
  } catch (error) {
    return { ok: false, problem: error instanceof Error ? error.message : String(error) };
  }
}

function listen(server: net.Server | dgram.Socket, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const bound = (): void => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    };
    server.once('error', reject);
    if (server instanceof dgram.Socket) server.bind(port, host, bound);
    else server.listen({ host, port, backlog: 511 }, bound);
  });
}

/** TLS cannot be reset from above. */
function cut(socket: net.Socket): void {
  if (socket instanceof tls.TLSSocket) socket.destroy();
  else socket.resetAndDestroy();
}
