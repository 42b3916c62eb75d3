import type { Json } from '../../src/shared/foundation/json.ts';
import type { Revision } from '../../src/shared/model/control.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { type Session, type SessionOptions, type SessionState, openSession } from '../../src/client-sdk/session.ts';
import type { HttpTransport, OpenSocket, Platform, SocketListener, TextStorage } from '../../src/client-sdk/transport.ts';
import { FakeClock } from './fake-clock.ts';

export const EDGE = 'https://edge.example.org';
export const MASTER = 'https://master.example.org';
export const power = { system: 'sys-1', module: 'Display', name: 'power' };
const metaOfPower = { sys: 'sys-1', mod: 'Display', index: 1, name: 'power' };

let reports = 0;

type Request = Record<string, unknown> & { id: number; cmd: string };

/** A socket as its server sees it. */
export class ServerSocket {
  readonly texts: string[] = [];
  readonly listener: SocketListener;
  isOpen = true;

  constructor(listener: SocketListener) {
    this.listener = listener;
  }

  get requests(): Request[] {
    return this.texts.filter((text) => text.startsWith('{')).map((text) => JSON.parse(text) as Request);
  }

  executed(): unknown[] {
    return this.requests.filter(({ cmd }) => cmd === 'exec').map(({ args }) => args);
  }

  say(frame: object): void {
    if (this.isOpen) this.listener.message(JSON.stringify(frame));
  }

  /** Without a revision it is newer than all before, and null was never set. */
  notify(value: Json, meta: object = metaOfPower, revision: Revision | null = value === null ? null : [0, 2, (reports += 1)]): void {
    this.say({ type: 'notify', value, revision, meta });
  }

  redirect(origin: string, epoch: string, sys = 'sys-1'): void {
    this.say({ type: 'redirect', reason: 'window-open', location: 'berlin', sys, origin, alternatives: [], epoch });
  }

  /** Values of a location stand still since so long; null: no more. */
  stands(location: string, ageMs: number | null): void {
    this.say({ type: 'staleness', location, stale: ageMs !== null, age_ms: ageMs ?? 0 });
  }

  refuse(id: number, error: HoldfastError): void {
    this.say({ id, type: 'error', code: 3, error_code: 3, msg: error.message, error });
  }

  end(problem = 'closed: shutting-down'): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.listener.closed(problem);
  }
}

/** A server that answers pings and binds by itself; commands wait for the test. */
export class FakeServer {
  readonly sockets: ServerSocket[] = [];
  mode: 'up' | 'refuses' | 'mute' = 'up';
  value: Json = null;
  members: { edge: string | null; master: string | null } = { edge: EDGE, master: MASTER };
  asked = 0;

  get socket(): ServerSocket {
    const last = this.sockets.at(-1);
    if (last === undefined) throw new Error('nobody came');
    return last;
  }

  get open(): ServerSocket[] {
    return this.sockets.filter(({ isOpen }) => isOpen);
  }

  hear(socket: ServerSocket, text: string): void {
    socket.texts.push(text);
    if (this.mode === 'mute') return;
    if (text === 'ping') return socket.listener.message('pong');
    const { id, cmd, sys, mod, index, name } = JSON.parse(text) as Request;
    if (cmd === 'exec') return;
    const meta = { sys, mod, index, name };
    socket.say({ id, type: 'success', meta });
    if (cmd === 'bind') socket.notify(this.value, meta);
  }
}

/** Two servers, a clock that moves when told to, and a session among them. */
export class SessionWorld {
  readonly clock = new FakeClock();
  readonly edge = new FakeServer();
  readonly master = new FakeServer();
  readonly other = new FakeServer();
  readonly states: SessionState[] = [];
  readonly values: Json[] = [];
  readonly stored: string[] = [];
  readonly dialled: string[] = [];
  session: Session | null = null;
  readonly #servers = new Map([[EDGE, this.edge], [MASTER, this.master], ['https://elsewhere.example.org', this.other]]);

  async start(options: Partial<SessionOptions> = {}): Promise<Session> {
    const storage: TextStorage = { load: async () => this.stored.at(-1) ?? null, save: async (text) => void this.stored.push(text) };
    const session = await openSession(this.platform(), { origins: [EDGE], apiKey: 'key-1.secret', storage, ...options });
    this.session = session;
    session.onState((state) => void this.states.push(state));
    session.bind(power, (value) => void this.values.push(value));
    await this.clock.advance(0);
    return session;
  }

  platform(): Platform {
    const http: HttpTransport = {
      showsRedirects: true,
      after: (ms, callback) => {
        const timer = this.clock.after(ms, callback);
        return () => timer.cancel();
      },
      send: async ({ origin, target }) => {
        const server = this.#servers.get(origin);
        if (server?.mode !== 'up' || !target.includes('/members?system=sys-')) throw new HoldfastError('UNREACHABLE', { origin, problem: 'refused' });
        server.asked += 1;
        const text = JSON.stringify([{ location: 'berlin', ...server.members }]);
        return { status: 200, headers: {}, chunks: (async function* () { yield text; })() };
      },
      close: () => undefined,
    };
    return { http, sockets: { open: ({ origin }, listener) => this.#open(origin, listener) }, nowMs: () => this.clock.wallMs(), draw: () => 0.5 };
  }

  #open(origin: string, listener: SocketListener): OpenSocket {
    this.dialled.push(origin);
    const server = this.#servers.get(origin);
    const socket = new ServerSocket(listener);
    this.clock.after(0, () => {
      if (server?.mode === 'refuses' || server === undefined) return socket.end('refused');
      server.sockets.push(socket);
      listener.opened();
    });
    return {
      send: (text) => {
        if (!socket.isOpen || server === undefined) return false;
        server.hear(socket, text);
        return true;
      },
      close: () => void (socket.isOpen = false),
    };
  }
}
