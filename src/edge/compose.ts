import { createLinkDialler } from '../shared/adapters/link-ws/dialler.ts';
import { verifyPinned } from '../shared/adapters/tls/certificates.ts';
import type { EdgeConfig } from '../shared/model/config.ts';
import { EdgeIdentity } from '../shared/runtime/edge-identity.ts';
import type { NodeParts } from '../shared/runtime/node-parts.ts';
import { EdgeNode } from './edge-node.ts';

/** An edge of real parts: who it is comes from its enrolment, where the masters are from there or from the environment. */
export async function composeEdge(parts: NodeParts, config: EdgeConfig): Promise<EdgeNode> {
  const { clock, random, log, credentials } = parts;
  const identity = await EdgeIdentity.open(credentials, random, config.enrol);
  const dialler = createLinkDialler({ identity, clock, random, log, verifyPinned });
  return new EdgeNode({ ...parts, deviceLink: parts.createDeviceLink(identity.edge), dialler }, { id: identity.edge, addresses: config.masters ?? identity.addresses });
}
