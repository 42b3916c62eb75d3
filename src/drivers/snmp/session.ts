import type * as Snmp from 'net-snmp';
import type { Session, Varbind } from 'net-snmp';
import { HoldfastError, type Json } from '../../driver-sdk/index.ts';
import type { Datagrams } from './datagrams.ts';
import { readable, type writable } from './values.ts';

/** Loaded when a module needs it: it is large, and most hosts never speak SNMP. */
type Library = typeof Snmp;

/** Objects of one answer; agents limit the size of a datagram. */
const AT_ONCE = 20;

export interface SnmpSession {
  /** By OID; null: the agent has no such object. */
  get(oids: readonly string[]): Promise<Map<string, Json>>;
  set(oid: string, type: (typeof writable)[keyof typeof writable]['type'], value: string | number | Buffer): Promise<void>;
  /** Everything below an OID, in the agent's order. Throws when there are more than `most`. */
  walk(oid: string, most: number): Promise<Map<string, Json>>;
}

export interface SnmpSessionOptions {
  library: Library;
  community: string;
  datagrams: Datagrams;
  /** The id of the module, for errors. */
  module: string;
}

type Done = (error: Error | null, varbinds?: Varbind[]) => void;

/** SNMP version 2c under one community. */
export function openSession({ library, community, datagrams, module }: SnmpSessionOptions): SnmpSession {
  const { createSession, isVarbindError, ObjectType, RequestFailedError, Version2c } = library;
  const dgramModule = { createSocket: () => datagrams };
  // Whom the datagrams reach is up to the module.
  const session: Session = createSession('', community, { version: Version2c, retries: 0, backwardsGetNexts: false, dgramModule });
  // An answer that cannot be read ends what it answers.
  session.on('error', (error) => session.cancelRequests(error));

  const ask = (start: (done: Done) => void): Promise<Varbind[]> =>
    new Promise((resolve, reject) => {
      start((error, varbinds = []) => {
        if (error === null) resolve(varbinds);
        else if (error instanceof RequestFailedError) reject(new HoldfastError('DEVICE_REFUSED', { module, problem: error.message }));
        else reject(error);
      });
    });
  const valueOf = (varbind: Varbind): Json => (isVarbindError(varbind) ? null : readable(varbind.value ?? null, varbind.type === ObjectType.Counter64));

  return {
    get: async (oids) => {
      const values = new Map<string, Json>();
      for (let from = 0; from < oids.length; from += AT_ONCE) {
        const some = oids.slice(from, from + AT_ONCE);
        const varbinds = await ask((done) => session.get(some, done));
        // Agents answer in the order of the question.
        some.forEach((oid, at) => values.set(oid, varbinds[at] === undefined ? null : valueOf(varbinds[at])));
      }
      return values;
    },
    set: async (oid, type, value) => {
      await ask((done) => session.set([{ oid, type: ObjectType[type], value }], done));
    },
    walk: async (oid, most) => {
      const values = new Map<string, Json>();
      await ask((done) => {
        const more = (varbinds: Varbind[]): boolean => {
          for (const varbind of varbinds) if (!isVarbindError(varbind)) values.set(varbind.oid, valueOf(varbind));
          return values.size > most;
        };
        session.subtree(oid, AT_ONCE, more, (error) => done(error ?? null));
      });
      if (values.size > most) throw new HoldfastError('DEVICE_REFUSED', { module, problem: `more than ${most} objects below ${oid}` });
      return values;
    },
  };
}
