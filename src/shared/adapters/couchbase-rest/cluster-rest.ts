import http from 'node:http';
import https from 'node:https';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { ClusterAnswer, ClusterCall, ClusterRest } from '../../ports/cluster-rest.ts';

export interface ClusterRestOptions {
  /** Without a path. */
  origin: string;
  user: string;
  password: string;
  /** PEM of the authority that signed the certificate of the cluster; null: those that the machine trusts. */
  ca: string | null;
  signal: AbortSignal;
}

const MAX_BYTES = 4 * 1024 * 1024;

/** A connection for each call: they are few. Certificate and name are always checked. */
export function createClusterRest({ origin, user, password, ca, signal }: ClusterRestOptions): ClusterRest {
  const { request } = origin.startsWith('https:') ? https : http;
  const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  const ask = ({ method, path, form, anonymous }: ClusterCall): Promise<ClusterAnswer> =>
    new Promise((resolve, reject) => {
      const body = form === undefined ? null : new URLSearchParams({ ...form }).toString();
      const headers = {
        accept: 'application/json',
        ...(anonymous === true ? {} : { authorization }),
        ...(body === null ? {} : { 'content-type': 'application/x-www-form-urlencoded', 'content-length': String(Buffer.byteLength(body)) }),
      };
      const trust = ca === null ? {} : { ca };
      const deadline = AbortSignal.any([signal, AbortSignal.timeout(limits.clusterCallMs)]);
      const call = request(new URL(path, origin), { method, headers, agent: false, signal: deadline, ...trust }, (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > MAX_BYTES) response.destroy(new Error('the answer is too long'));
          chunks.push(chunk);
        });
        response.on('error', reject);
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }));
      });
      call.on('error', reject);
      call.end(body ?? undefined);
    });
  return {
    origin,
    call: async (call) => {
      try {
        return await ask(call);
      } catch (error) {
        signal.throwIfAborted();
        throw new HoldfastError('CLUSTER_UNREACHABLE', { address: origin, problem: problemOf(error) }, { cause: error });
      }
    },
  };
}

function problemOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error ? String(error.code) : '';
  if (error.name === 'AbortError' || error.name === 'TimeoutError') return `no answer within ${limits.clusterCallMs / 1_000} s`;
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return `its certificate is for another name: ${error.message}`;
  if (/CERT|VERIFY|ISSUER/.test(code)) return `its certificate is not trusted: ${error.message}`;
  // Several addresses were tried: the message is empty then.
  return error.message || code;
}
