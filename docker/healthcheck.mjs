// Is the server in this container ready? On loopback, so that the name in its certificate does not matter.
import { request as http } from 'node:http';
import { request as https } from 'node:https';

const address = process.env.HOLDFAST_HTTP ?? (process.env.HOLDFAST_ROLE === 'edge' ? '127.0.0.1:8081' : '127.0.0.1:8080');
const [, host, port] = /^(.*):(\d+)$/.exec(address) ?? [];
const request = /^(127\.|localhost$|\[::1\]$)/.test(host ?? '') ? http : https;

const asked = request({ host: '127.0.0.1', port, path: '/health/ready', timeout: 3_000, rejectUnauthorized: false }, ({ statusCode }) => {
  process.exit(statusCode === 200 ? 0 : 1);
});
asked.on('timeout', () => asked.destroy(new Error('no answer')));
asked.on('error', () => process.exit(1));
asked.end();
