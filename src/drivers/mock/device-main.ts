import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type DeviceProtocol, startMockDevices } from './device-program.ts';

/**
 * `device-main --ports 3 --base-port 9000 --control-port 9999 --log writes.jsonl --single`:
 * prints its ports as one line of JSON.
 */
const { values } = parseArgs({
  options: {
    ports: { type: 'string', default: '1' },
    host: { type: 'string', default: '127.0.0.1' },
    'base-port': { type: 'string', default: '0' },
    'control-port': { type: 'string' },
    log: { type: 'string' },
    'delay-ms': { type: 'string', default: '0' },
    'drop-after-bytes': { type: 'string' },
    refuse: { type: 'boolean', default: false },
    single: { type: 'boolean', default: false },
    mute: { type: 'boolean', default: false },
    /** tcp, tls, udp, http, https. */
    protocol: { type: 'string', default: 'tcp' },
    /** PEM files, for tls and https. */
    cert: { type: 'string', default: '' },
    key: { type: 'string', default: '' },
    /** Ends when standard input does: whoever started the devices is gone. */
    'with-parent': { type: 'boolean', default: false },
  },
});

const number = (name: string, text: string): number => {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0) return value;
  process.stderr.write(`--${name} must be a whole number, not "${text}"\n`);
  process.exit(2);
};

const optional = (name: string, text: string | undefined): number | null =>
  text === undefined ? null : number(name, text);

const protocol = (): DeviceProtocol => {
  const { protocol: kind, cert, key } = values;
  if (kind === 'tls' || kind === 'https') return { kind, cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
  if (kind === 'tcp' || kind === 'udp' || kind === 'http') return { kind };
  process.stderr.write(`--protocol must be tcp, tls, udp, http or https, not "${kind}"\n`);
  process.exit(2);
};

const devices = await startMockDevices({
  ports: number('ports', values.ports),
  host: values.host,
  protocol: protocol(),
  basePort: number('base-port', values['base-port']),
  controlPort: optional('control-port', values['control-port']),
  log: values.log ?? null,
  script: {
    delayMs: number('delay-ms', values['delay-ms']),
    dropAfterBytes: optional('drop-after-bytes', values['drop-after-bytes']),
    refuse: values.refuse,
    single: values.single,
    mute: values.mute,
  },
});
process.stdout.write(`${JSON.stringify({ ports: devices.ports, control: devices.controlPort })}\n`);
const end = async (): Promise<void> => {
  await devices.close();
  // While it is open, and somebody may write, the process would stay.
  process.stdin.destroy();
};
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void end());
if (values['with-parent']) {
  process.stdin.once('end', () => void end());
  process.stdin.resume();
}
