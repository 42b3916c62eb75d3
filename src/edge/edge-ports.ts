import type { EdgeControl, EdgeEvent } from '../shared/control/edge-control.ts';
import type { ControlTimings } from '../shared/control/lease.ts';
import type { LinkDialler } from '../shared/ports/transport.ts';
import type { NodePorts } from '../shared/runtime/node-parts.ts';

export interface EdgePorts extends NodePorts {
  dialler: LinkDialler;
}

export interface EdgeOptions {
  /** The database of this edge is replicated: the documents do not come over the link. */
  replicated?: boolean;
  /** Id of this edge, which is that of its location document. */
  id: string;
  /** Addresses of the masters, `host:port`. */
  addresses: readonly string[];
  timings?: ControlTimings;
  /** The client API cannot be served yet: it has no certificate. */
  certificateMissing?(): boolean;
  /** Told of each step of the control machine: for a judge. */
  onStep?(previous: EdgeControl, next: EdgeControl, event: EdgeEvent): void;
}
