import type { ControlTimings } from '../shared/control/lease.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { ControlJournal } from '../shared/ports/control-journal.ts';
import type { CredentialStore } from '../shared/ports/credential-store.ts';
import type { DeviceLink } from '../shared/ports/device-link.ts';
import type { DocumentStore } from '../shared/ports/document-store.ts';
import type { Log } from '../shared/ports/log.ts';
import type { Metrics } from '../shared/ports/metrics.ts';
import type { Random } from '../shared/ports/random.ts';
import type { SettingsKeys } from '../shared/ports/settings-keys.ts';
import type { LinkListener } from '../shared/ports/transport.ts';
import type { Webhooks } from '../shared/ports/webhooks.ts';
import type { WorkingCopy } from '../shared/ports/working-copy.ts';
import type { EdgeEnrolment } from '../shared/runtime/node.ts';
import type { Certify } from './edge-service.ts';
import type { FederatedLocationOptions } from './federated-location.ts';

export interface MasterPorts {
  clock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
  journal: ControlJournal;
  store: DocumentStore;
  deviceLink: DeviceLink;
  credentials: Pick<CredentialStore, 'get' | 'set'>;
  /** Absent: nothing that is sealed is opened here. */
  settingsKeys?: SettingsKeys;
  listener: LinkListener;
  enrolment: EdgeEnrolment;
  webhooks: Webhooks;
  /** Absent: drivers come from no repository. */
  workingCopy?: WorkingCopy | null;
  /** Absent: edges get no certificates here. */
  certify?: Certify;
}

export interface MasterOptions {
  id: string;
  timings?: ControlTimings;
  /** Told of each step of each control machine: for a judge. */
  onStep?: FederatedLocationOptions['onStep'];
}
