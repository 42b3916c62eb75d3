import type { EdgeControl, EdgeEvent } from '../shared/control/edge-control.ts';
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
import type { LinkDialler } from '../shared/ports/transport.ts';
import type { Webhooks } from '../shared/ports/webhooks.ts';
import type { WorkingCopy } from '../shared/ports/working-copy.ts';

export interface EdgePorts {
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
  dialler: LinkDialler;
  webhooks: Webhooks;
  /** Absent: drivers come from no repository. */
  workingCopy?: WorkingCopy | null;
}

export interface EdgeOptions {
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
