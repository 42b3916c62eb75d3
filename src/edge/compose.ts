import { createLinkDialler } from '../shared/adapters/link-ws/dialler.ts';
import { verifyPinned } from '../shared/adapters/tls/certificates.ts';
import { openEdgeCertificate } from '../shared/adapters/tls/edge-certificates.ts';
import type { EdgeConfig } from '../shared/model/config.ts';
import { EdgeIdentity, type ReadSecret } from '../shared/runtime/peer/edge-identity.ts';
import type { NodeParts } from '../shared/runtime/node-parts.ts';
import { certificateHosts, EdgeCertificate } from './edge-certificate.ts';
import { EdgeNode } from './edge-node.ts';

export interface EdgeTls {
  folder: string;
  machine(): { hostname: string; addresses: readonly string[] };
}

export interface ComposedEdge {
  node: EdgeNode;
  /** Null: the client API is for this machine only. */
  certificate: EdgeCertificate | null;
}

/** An edge of real parts: who it is comes from its enrolment, where the masters are from there or from the environment. */
export async function composeEdge(
  parts: NodeParts,
  config: EdgeConfig,
  { tls, readSecret }: { tls: EdgeTls | null; readSecret: ReadSecret },
): Promise<ComposedEdge> {
  const { clock, random, log, credentials } = parts;
  const identity = await EdgeIdentity.open(credentials, random, config.enrol, readSecret);
  const dialler = createLinkDialler({ identity, clock, random, log, verifyPinned });
  const certificate =
    tls === null
      ? null
      : new EdgeCertificate({
          clock,
          log,
          files: await openEdgeCertificate({ folder: tls.folder, caFingerprint: identity.caFingerprint }),
          hosts: () => certificateHosts(config.http.host, tls.machine()),
          request: (body, signal) => node.requestCertificate(body, signal),
        });
  const node: EdgeNode = new EdgeNode(
    { ...parts, deviceLink: parts.createDeviceLink(identity.edge), dialler },
    {
      id: identity.edge,
      replicated: config.replication === 'xdcr',
      addresses: config.masters ?? identity.addresses,
      certificateMissing: () => certificate?.missing === true,
    },
  );
  return { node, certificate };
}
