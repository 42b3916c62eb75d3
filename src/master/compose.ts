import { createLinkListener } from '../shared/adapters/link-ws/listener.ts';
import type { ServerIdentity } from '../shared/adapters/tls/certificates.ts';
import { type CertifierOptions, createCertifier } from '../shared/adapters/tls/edge-certificates.ts';
import { formatAddress, type MasterConfig } from '../shared/model/config.ts';
import { CertifiedNames } from '../shared/runtime/peer/certified-names.ts';
import { LinkAuthority } from '../shared/runtime/peer/link-authority.ts';
import type { LinkListener } from '../shared/ports/transport.ts';
import type { NodeParts } from '../shared/runtime/node-parts.ts';
import { MasterNode } from './master-node.ts';

/** A master of real parts: its id, its CA, the authority over edges, and the listener for their links. */
export async function composeMaster(parts: NodeParts, config: MasterConfig, tls: { identity: ServerIdentity; folder: string }): Promise<MasterNode> {
  const { identity } = tls;
  const id = await masterId(parts);
  let linkPort = config.link.port;
  const authority = new LinkAuthority({
    ...parts,
    caFingerprint: identity.caFingerprint,
    addresses: () => [formatAddress({ host: config.advertise.host, port: config.advertise.port === 0 ? linkPort : config.advertise.port })],
    closePeer: (edge, reason) => listener.closePeer(edge, reason),
  });
  const webSockets = createLinkListener({ ...parts, ...config.link, masterId: id, chain: identity.chain, key: identity.key, authority });
  const listener: LinkListener = {
    start: async (onConnection) => {
      const { address } = await webSockets.start(onConnection);
      linkPort = Number(address.slice(address.lastIndexOf(':') + 1));
      return { address };
    },
    closePeer: (edge, reason) => webSockets.closePeer(edge, reason),
    close: () => webSockets.close(),
  };
  const names = new CertifiedNames({ ...parts, isEnrolled: (edge) => authority.isEnrolled(edge) });
  const claim: CertifierOptions['claim'] = (edge, hosts, untilMs) => names.claim(edge, hosts, untilMs);
  const certify = createCertifier({ ...parts, folder: tls.folder, chain: identity.chain, claim });
  return new MasterNode({ ...parts, deviceLink: parts.createDeviceLink(id), listener, enrolment: authority, certify }, { id });
}

/** Made at the first start; devices' evidence and answers name it. */
async function masterId({ credentials, random }: NodeParts): Promise<string> {
  await credentials.compareAndSet('master-id', null, `master-${random.hex(3)}`);
  return credentials.get('master-id') ?? 'master';
}
