import type { TransportKind } from '../driver-sdk/driver.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { ModuleSpec } from '../shared/ports/device-link.ts';
import type { Random } from '../shared/ports/random.ts';
import type { ConnectionSettings } from './connection-settings.ts';
import { DeviceTransport } from './device-transport.ts';
import { dialTcp } from './dial-tcp.ts';
import { dialUdp } from './dial-udp.ts';
import { HttpConnection } from './http-connection.ts';

export interface ConnectionBase {
  clock: Clock;
  random: Pick<Random, 'next'>;
  mayConnect(): boolean;
  beforeWrite(bytes: number): void;
}

/** What a module speaks over; at most one of both. */
export interface Connections {
  transport: DeviceTransport | null;
  http: HttpConnection | null;
}

const refuse = (field: string, problem: string): HoldfastError => new HoldfastError('INPUT_INVALID', { field, problem });

/** The way to the device of a module, as its flags and its driver want it. Throws INPUT_INVALID for what cannot be. */
export function connectionsOf(
  supported: readonly TransportKind[],
  spec: ModuleSpec,
  settings: ConnectionSettings,
  base: ConnectionBase,
): Connections {
  if (supported.length === 0) return { transport: null, http: null };
  const kind = kindOf(supported, spec);
  if (!supported.includes(kind)) {
    throw refuse(kind === 'tcp' ? 'tls' : fieldOf(kind), `driver ${spec.driver} does not speak ${kind}, but ${supported.join(', ')}`);
  }
  const { id: module, makebreak } = spec;
  if (kind === 'http') return { transport: null, http: new HttpConnection({ ...base, module, settings, base: serviceOf(spec) }) };
  const target = { host: spec.ip, port: spec.port };
  if (spec.ip === '') throw refuse('ip', 'must name the device');
  if (spec.port === 0) throw refuse('port', 'must be the port of the device');
  const dial = kind === 'udp' ? dialUdp(target) : dialTcp({ ...target, tls: kind === 'tls' ? settings : null, clock: base.clock });
  const idleMs = makebreak ? settings.idleMs : null;
  return { transport: new DeviceTransport({ ...base, module, dial, idleMs, connectionless: kind === 'udp' }), http: null };
}

const fieldOf = (kind: TransportKind): string => (kind === 'http' ? 'uri' : kind);

function kindOf(supported: readonly TransportKind[], { uri, udp, tls, makebreak }: ModuleSpec): TransportKind {
  // A service has nothing but an address: that it is missing is a better hint than that TCP is not spoken.
  if (uri !== '' || supported.every((kind) => kind === 'http')) {
    if (udp) throw refuse('udp', 'cannot go with uri: HTTP runs over TCP');
    if (makebreak) throw refuse('makebreak', 'cannot go with uri: HTTP connects on demand anyway');
    return 'http';
  }
  if (udp && tls) throw refuse('tls', 'cannot go with udp');
  if (udp && makebreak) throw refuse('makebreak', 'cannot go with udp: it has no connection');
  return udp ? 'udp' : tls ? 'tls' : 'tcp';
}

function serviceOf({ uri, tls }: ModuleSpec): URL {
  const url = URL.canParse(uri) ? new URL(uri) : null;
  if (url === null || !['http:', 'https:'].includes(url.protocol)) throw refuse('uri', 'must be the http:// or https:// address of the service');
  if (tls && url.protocol === 'http:') throw refuse('tls', 'cannot go with http://; write https:// in uri');
  // A password in a URL ends up in logs.
  if (url.username !== '' || url.password !== '') throw refuse('uri', 'must hold no password; use the setting connection.authorization');
  return url;
}
