import { HoldfastError } from '../shared/model/errors.ts';
import type { Credential, HttpAnswer, HttpRequest, HttpTransport, SocketTransport, TextStorage } from './transport.ts';

/** As much as is used of what every browser has; the types of Node do not know it. */
interface BrowserSocket {
  readonly readyState: number;
  send(text: string): void;
  close(): void;
  addEventListener(type: 'open', listener: () => void): void;
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
  addEventListener(type: 'close', listener: (event: { code: number; reason: string }) => void): void;
}
declare const WebSocket: new (url: string) => BrowserSocket;
declare const localStorage: { getItem(key: string): string | null; setItem(key: string, value: string): void };

const OPEN = 1;

export function createBrowserHttp(): HttpTransport {
  return {
    // A browser does not tell a page where it was sent, and would take the key along to anywhere.
    showsRedirects: false,
    send,
    after,
    close: () => undefined,
  };
}

function after(ms: number, callback: () => void): () => void {
  const timer = setTimeout(callback, ms);
  return () => clearTimeout(timer);
}

async function send({ method, origin, target, headers, body, signal, idleMs }: HttpRequest): Promise<HttpAnswer> {
  const idle = new AbortController();
  const watch = (): (() => void) => after(idleMs, () => idle.abort(new Error(`nothing arrived for ${idleMs} ms`)));
  const failure = (error: unknown): unknown =>
    signal.aborted ? signal.reason : new HoldfastError('UNREACHABLE', { origin, problem: problemOf(error) }, { cause: error });
  let stop = watch();
  try {
    const either = AbortSignal.any([signal, idle.signal]);
    const answer = await fetch(`${origin}${target}`, { method, headers, body, signal: either, redirect: 'error', credentials: 'omit' });
    return { status: answer.status, headers: Object.fromEntries(answer.headers), chunks: chunksOf(answer) };
  } catch (error) {
    stop();
    throw failure(error);
  }

  async function* chunksOf(answer: Response): AsyncGenerator<string> {
    const decoder = new TextDecoder();
    const reader = answer.body?.getReader();
    try {
      for (let read = await reader?.read(); read?.done === false; read = await reader?.read()) {
        stop();
        stop = watch();
        yield decoder.decode(read.value, { stream: true });
      }
    } catch (error) {
      throw failure(error);
    } finally {
      stop();
      await reader?.cancel().catch(() => undefined);
    }
  }
}

/** Browsers do not tell a page whether nobody answered or it may not read the answer. */
const problemOf = (error: unknown): string =>
  error instanceof TypeError ? `${error.message}; if it runs, does its HOLDFAST_ORIGINS name the origin of this page?` : String(error);

export function createBrowserSockets(): SocketTransport {
  return {
    open: ({ origin, path, credential }, listener) => {
      const socket = new WebSocket(`${origin.replace(/^http/, 'ws')}${path}${queryOf(credential)}`);
      socket.addEventListener('open', () => listener.opened());
      socket.addEventListener('message', ({ data }) => listener.message(String(data)));
      socket.addEventListener('close', ({ code, reason }) => listener.closed(`closed: ${reason === '' ? code : reason}`));
      return {
        send: (text) => {
          if (socket.readyState !== OPEN) return false;
          socket.send(text);
          return true;
        },
        close: () => socket.close(),
      };
    },
  };
}

/** A page cannot set the headers of a WebSocket; servers write no queries down. */
function queryOf({ apiKey, token }: Credential): string {
  if (typeof apiKey === 'string') return `?${new URLSearchParams({ 'api-key': apiKey }).toString()}`;
  return typeof token === 'string' ? `?${new URLSearchParams({ bearer_token: token }).toString()}` : '';
}

/** Keeps the member list in the browser, for pages of this origin. */
export const browserStorage = (key = 'holdfast-members'): TextStorage => ({
  load: async () => localStorage.getItem(key),
  save: async (text) => localStorage.setItem(key, text),
});
