import { Agent, request as plainRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { HoldfastError } from '../shared/model/errors.ts';
import type { HttpAnswer, HttpRequest, HttpTransport } from './transport.ts';

/** An idle connection is given up so soon: a request on one that the server is just closing would end without an answer. */
const IDLE_MS = 5_000;

/** HTTP and HTTPS of Node. `ca` is the PEM of the only authority that is trusted; without it, those of Node. */
export function createNodeTransport(ca: string | undefined): HttpTransport {
  const agent = new Agent({ keepAlive: true, timeout: IDLE_MS });
  const tlsAgent = new TlsAgent({ keepAlive: true, timeout: IDLE_MS, ...(ca === undefined ? {} : { ca }) });
  return {
    showsRedirects: true,
    send: (request) => send(request, agent, tlsAgent),
    after: (ms, callback) => {
      const timer = setTimeout(callback, ms);
      return () => clearTimeout(timer);
    },
    close: () => {
      agent.destroy();
      tlsAgent.destroy();
    },
  };
}

async function send(request: HttpRequest, agent: Agent, tlsAgent: TlsAgent): Promise<HttpAnswer> {
  const { method, origin, target, headers, body, signal, idleMs } = request;
  const url = new URL(origin);
  const tls = url.protocol === 'https:';
  // `path` as it is: a URL would normalise dots away.
  const options = { host: url.hostname.replaceAll(/[[\]]/g, ''), port: url.port || (tls ? 443 : 80), method, path: target, headers, signal };
  return await new Promise<HttpAnswer>((resolve, reject) => {
    const outgoing = tls ? tlsRequest({ ...options, agent: tlsAgent }) : plainRequest({ ...options, agent });
    outgoing.setTimeout(idleMs, () => outgoing.destroy(new Error(`nothing arrived for ${idleMs} ms`)));
    outgoing.on('error', (error) => reject(failure(error, origin, signal)));
    outgoing.on('response', (incoming) => {
      resolve({ status: incoming.statusCode ?? 0, headers: textHeaders(incoming), chunks: chunks(incoming, origin, signal) });
    });
    outgoing.end(body ?? undefined);
  });
}

async function* chunks(incoming: IncomingMessage, origin: string, signal: AbortSignal): AsyncGenerator<string> {
  incoming.setEncoding('utf8');
  try {
    for await (const chunk of incoming) yield String(chunk);
  } catch (error) {
    throw failure(error, origin, signal);
  }
}

function failure(error: unknown, origin: string, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  const { code, message } = error as { code?: unknown; message?: unknown };
  const known = typeof code === 'string' ? problems[code] : undefined;
  return new HoldfastError('UNREACHABLE', { origin, problem: known ?? String(message) }, { cause: error });
}

const problems: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'the name is unknown',
  EAI_AGAIN: 'the name cannot be looked up now',
  ETIMEDOUT: 'no answer to the connection',
  EHOSTUNREACH: 'there is no route to it',
  ECONNRESET: 'the connection ended before the answer came; what was asked may have been done',
  EPROTO: 'it does not speak TLS there; try http://',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is from an unknown authority; name the file of the right one in HOLDFAST_CA',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is from an unknown authority; name the file of the right one in HOLDFAST_CA',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is from an unknown authority; name the file of the right one in HOLDFAST_CA',
};

function textHeaders(incoming: IncomingMessage): Record<string, string> {
  const entries = Object.entries(incoming.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : (value ?? '')]);
  return Object.fromEntries(entries);
}
