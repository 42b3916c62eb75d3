import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import { WebSocket } from 'ws';
import { ScramClient } from '../../link/scram.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Random } from '../../ports/random.ts';
import type { Connection, LinkDialler } from '../../ports/transport.ts';
import type { EdgeIdentity, Proof } from '../../runtime/edge-identity.ts';
import { BINDING, nextProof, scramOf, sendProof } from './proof-channel.ts';
import { SocketConnection, webSocketOptions } from './socket-connection.ts';

export interface LinkDiallerOptions {
  identity: EdgeIdentity;
  clock: Clock;
  random: Random;
  log: Log;
  /** Checks the certificate against the pinned CA; throws LINK_REFUSED. */
  verifyPinned(options: { certificate: Buffer; caFingerprint: string; ca: Buffer; wallMs: number }): { expired: boolean };
}

/** Dials masters over TLS 1.3: the pinned CA is checked before a byte of ours is sent, then both sides prove the secret. */
export function createLinkDialler(options: LinkDiallerOptions): LinkDialler {
  return {
    async dial(address, signal) {
      let refusal: unknown = new HoldfastError('LINK_REFUSED', { reason: 'no-secret' });
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

const isRefusal = (error: unknown): boolean => error instanceof HoldfastError && error.facts['reason'] === 'refused-by-peer';

async function dialEnrolled(options: LinkDiallerOptions, address: string, signal: AbortSignal): Promise<Connection> {
  const proof = (await options.identity.proofs()).find(({ purpose }) => purpose === 'link');
  const connection = proof === undefined ? null : await attempt(options, address, proof, signal);
  if (connection === null) throw new HoldfastError('LINK_REFUSED', { reason: 'no-secret' });
  return connection;
}

/** One TLS connection and one proof. Null: enrolled. Throws LINK_REFUSED and what the network throws. */
async function attempt(options: LinkDiallerOptions, address: string, proof: Proof, signal: AbortSignal): Promise<Connection | null> {
  const tls = await openTls(address, signal);
  const abort = (): void => {
    tls.destroy();
  };
  signal.addEventListener('abort', abort, { once: true });
  try {
    checkCertificate(options, tls, address);
    const socket = new WebSocket(`ws://${address}/link`, { createConnection: () => tls, ...webSocketOptions });
    socket.on('error', () => undefined);
    const opened = once(socket, 'open', { signal });
    const failed = once(socket, 'close', { signal }).then(() => {
      throw new HoldfastError('LINK_REFUSED', { reason: 'closed-during-proof' });
    });
    failed.catch(() => undefined);
    await Promise.race([opened, failed]);
    const master = await prove(options, socket, tls, proof, signal);
    if (proof.purpose === 'enrol') {
      socket.close();
      return null;
    }
    // Listens from now on: the master may speak before our disk has answered.
    const connection = new SocketConnection(socket, tls, { peerId: master, remote: address });
    await options.identity.worked(proof.secretId);
    return connection;
  } catch (error) {
    tls.destroy();
    throw error;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

async function openTls(address: string, signal: AbortSignal): Promise<TLSSocket> {
  const { host, port } = splitAddress(address);
  signal.throwIfAborted();
  // Our own check follows: it pins a CA and does not care for names or dates.
  const tls = connect({ host, port, minVersion: 'TLSv1.3', rejectUnauthorized: false });
  tls.setNoDelay(true);
  const abort = (): void => {
    tls.destroy(signal.reason as Error);
  };
  signal.addEventListener('abort', abort, { once: true });
  try {
    await once(tls, 'secureConnect');
  } finally {
    signal.removeEventListener('abort', abort);
  }
  return tls;
}

function checkCertificate(options: LinkDiallerOptions, tls: TLSSocket, address: string): void {
  const shown = tls.getPeerX509Certificate();
  const ca = shown?.issuerCertificate;
  if (shown === undefined || ca === undefined) throw new HoldfastError('LINK_REFUSED', { reason: 'foreign-ca' });
  const { expired } = options.verifyPinned({
    certificate: shown.raw,
    ca: ca.raw,
    caFingerprint: options.identity.caFingerprint,
    wallMs: options.clock.wallMs(),
  });
  if (expired) options.log.warn('certificate-expired', { address, validTo: shown.validTo });
}

/** The id of the master that proved itself. */
async function prove(options: LinkDiallerOptions, socket: WebSocket, tls: TLSSocket, proof: Proof, signal: AbortSignal): Promise<string> {
  const binding = tls.exportKeyingMaterial(BINDING.bytes, BINDING.label, Buffer.alloc(0));
  const scram = new ScramClient({ user: proof.user, secret: proof.secret, nonce: options.random.hex(18), binding });
  sendProof(socket, { proof: scram.first() });
  sendProof(socket, { proof: await scram.final(scramOf(await nextProof(socket, signal))) });
  const last = await nextProof(socket, signal);
  scram.verify(scramOf(last));
  if (!('master' in last)) throw new HoldfastError('LINK_REFUSED', { reason: 'malformed-proof' });
  if (proof.purpose === 'enrol') {
    await options.identity.offering();
    sendProof(socket, { offer: proof.offer });
    const answer = await nextProof(socket, signal);
    if (!('enrolled' in answer)) throw new HoldfastError('LINK_REFUSED', { reason: 'refused-by-peer' });
  }
  return last.master;
}

function splitAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) };
}
