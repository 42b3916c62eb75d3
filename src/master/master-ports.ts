import type { ControlTimings } from '../shared/control/lease.ts';
import type { LinkListener } from '../shared/ports/transport.ts';
import type { EdgeEnrolment } from '../shared/runtime/node.ts';
import type { NodePorts } from '../shared/runtime/node-parts.ts';
import type { Certify } from './edge-service.ts';
import type { FederatedLocationOptions } from './federated-location.ts';

export interface MasterPorts extends NodePorts {
  listener: LinkListener;
  enrolment: EdgeEnrolment;
  /** Absent: edges get no certificates here. */
  certify?: Certify;
}

export interface MasterOptions {
  id: string;
  timings?: ControlTimings;
  /** Told of each step of each control machine: for a judge. */
  onStep?: FederatedLocationOptions['onStep'];
}
