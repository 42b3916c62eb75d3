import http from 'node:http';
import https from 'node:https';
import type { Webhooks } from '../../ports/webhooks.ts';

/** A connection for each: webhooks are rare, and none is left behind. */
export const nodeWebhooks: Webhooks = {
  post: ({ url, headers, body }, signal) =>
    new Promise((resolve, reject) => {
      const { request } = url.startsWith('https:') ? https : http;
      const all = { ...headers, 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) };
      const call = request(url, { method: 'POST', headers: all, agent: false, signal }, (response) => {
        resolve(response.statusCode ?? 0);
        response.destroy();
      });
      // Also after the answer, when destroying it may be one more.
      call.on('error', reject);
      call.end(body);
    }),
};
