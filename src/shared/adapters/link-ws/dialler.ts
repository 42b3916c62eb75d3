import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import { WebSocket } from 'ws';
import { ScramClient } from '../../link/scram.ts';
import { parseAddress } from '../../model/config.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Random } from '../../ports/random.ts';
import type { Connection, LinkDialler } from '../../ports/transport.ts';
import type { EdgeIdentity, Proof } from '../../runtime/peer/edge-identity.ts';
import { ProofChannel } from './proof-channel.ts';
import { PROCESS_HEADER, SocketConnection, webSocketOptions } from './socket-connection.ts';

export interface LinkDiallerOptions {
  identity: EdgeIdentity;
  clock: Clock;
  random: Random;
  log: Log;
  /** Checks the certificate against the pinned CA; throws LINK_REFUSED. */
  verifyPinned(options: { certificate: Buffer; caFingerprint: string; ca: Buffer; wallMs: number }): { expired: boolean };
}

/** Dials masters over TLS 1.3: the pinned CA is checked before a byte of ours is sent, then both sides prove the secret. */
export function createLinkDialler(given: LinkDiallerOptions): LinkDialler {
  const options = { ...given, process: given.random.hex(8) };
  return {
    async dial(address, signal) {
      let refusal: unknown = refuse('no-secret');
      for (const proof of await options.identity.proofs()) {
        try {
          const connection = await attempt(options, address, proof, signal);
          if (connection !== null) return connection;
          // Enrolled: now the new secret works.
          return await dialEnrolled(options, address, signal);
        } catch (error) {
          if (!isRefusal(error)) throw error;
          refusal = error;
        }
      }
      throw refusal;
    },
  };
}

const refuse = (reason: string): HoldfastError => new HoldfastError('LINK_REFUSED', { reason });
const isRefusal = (error: unknown): boolean => error instanceof HoldfastError && error.facts['reason'] === 'refused-by-peer';

interface Options extends LinkDiallerOptions {
  /** A machine that was copied has the same secret, but is never the same process. */
  process: string;
}

async function dialEnrolled(options: Options, address: string, signal: AbortSignal): Promise<Connection> {
  const proof = (await options.identity.proofs()).find(({ purpose }) => purpose === 'link');
  const connection = proof === undefined ? null : await attempt(options, address, proof, signal);
  if (connection === null) throw refuse('no-secret');
  return connection;
}

/** One TLS connection and one proof. Null: enrolled. Throws LINK_REFUSED, DIAL_FAILED, and the signal's reason. */
async function attempt(options: Options, address: string, proof: Proof, signal: AbortSignal): Promise<Connection | null> {
  signal.throwIfAborted();
  const tls = openTls(address);
  const abort = (): void => {
    tls.destroy(new Error('aborted'));
  };
  signal.addEventListener('abort', abort, { once: true });
  try {
    await once(tls, 'secureConnect');
    checkCertificate(options, tls, address);
    const socket = await upgrade(tls, address, options.process);
    const channel = new ProofChannel(socket, tls, signal);
    const master = await prove(options, channel, proof);
    if (proof.purpose === 'enrol') {
      channel.end(1000, 'enrolled');
      return null;
    }
    // Listens from now on: the master may speak before our disk has answered.
    const identity = { peerId: master, peerProcess: '', remote: address, early: channel.release(), dialled: true };
    const connection = new SocketConnection(socket, tls, { ...identity, clock: options.clock });
    await settle(options, proof.secretId);
    return connection;
  } catch (error) {
    tls.destroy();
    if (signal.aborted) throw signal.reason;
    throw error instanceof HoldfastError ? error : dialFailed(address, error);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function openTls(address: string): TLSSocket {
  const target = parseAddress(address);
  if (target === null) throw new HoldfastError('DIAL_FAILED', { address, problem: 'this is not host:port' });
  // Our own check follows: it pins a CA and does not care for names or dates.
  const tls = connect({ ...target, minVersion: 'TLSv1.3', rejectUnauthorized: false });
  tls.setNoDelay(true);
  // Whoever waits hears of it as well; an error that comes when nobody waits must not end the process.
  tls.on('error', () => undefined);
  return tls;
}

function dialFailed(address: string, error: unknown): HoldfastError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const message = error instanceof Error ? error.message : String(error);
  return new HoldfastError('DIAL_FAILED', { address, problem: code === '' ? message : code }, { cause: error });
}

function checkCertificate(options: LinkDiallerOptions, tls: TLSSocket, address: string): void {
  const shown = tls.getPeerX509Certificate();
  const ca = shown?.issuerCertificate;
  if (shown === undefined || ca === undefined) throw refuse('foreign-ca');
  const { expired } = options.verifyPinned({
    certificate: shown.raw,
    ca: ca.raw,
    caFingerprint: options.identity.caFingerprint,
    wallMs: options.clock.wallMs(),
  });
  if (expired) options.log.warn('certificate-expired', { address, validFrom: shown.validFrom, validTo: shown.validTo });
}

function upgrade(tls: TLSSocket, address: string, process: string): Promise<WebSocket> {
  const socket = new WebSocket(`ws://${address}/link`, { createConnection: () => tls, headers: { [PROCESS_HEADER]: process }, ...webSocketOptions });
  return new Promise((resolve, reject) => {
    socket.once('open', () => resolve(socket));
    // Stays: an error that comes when nobody waits must not end the process.
    socket.on('error', reject);
    socket.once('close', () => reject(new Error('it closed the connection')));
  });
}

/** The id of the master that proved itself. */
async function prove(options: LinkDiallerOptions, channel: ProofChannel, proof: Proof): Promise<string> {
  const scram = new ScramClient({ user: proof.user, secret: proof.secret, nonce: options.random.hex(18), binding: channel.binding() });
  channel.send({ proof: scram.first() });
  channel.send({ proof: await scram.final(await channel.scram()) });
  const last = await channel.next();
  if ('refused' in last) throw refuse('refused-by-peer');
  if (!('master' in last)) throw refuse('malformed-proof');
  scram.verify(last.proof);
  if (proof.purpose === 'enrol') {
    await options.identity.offering();
    channel.send({ offer: proof.offer });
    const answer = await channel.next();
    if (!('enrolled' in answer)) throw refuse('refused-by-peer');
  }
  return last.master;
}

/** Forgets the token and older secrets. A full disk must not keep the link down: then they are forgotten another time. */
async function settle({ identity, log }: LinkDiallerOptions, secretId: string): Promise<void> {
  try {
    await identity.worked(secretId);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    log.warn('old-secret-kept', { error });
  }
}
