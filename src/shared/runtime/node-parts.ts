import type { Clock } from '../ports/clock.ts';
import type { ControlJournal } from '../ports/control-journal.ts';
import type { CredentialStore } from '../ports/credential-store.ts';
import type { DeviceLink } from '../ports/device-link.ts';
import type { DocumentStore } from '../ports/document-store.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { Random } from '../ports/random.ts';
import type { SettingsKeys } from '../ports/settings-keys.ts';
import type { Webhooks } from '../ports/webhooks.ts';
import type { WorkingCopy } from '../ports/working-copy.ts';

/** What a node of either role works with, besides its end of the link. */
export interface NodePorts {
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
  webhooks: Webhooks;
  /** Absent or null: drivers come from no repository. */
  workingCopy?: WorkingCopy | null;
}

/** What it is composed of: the same, but for the devices, which need to know its id. */
export interface NodeParts extends Omit<NodePorts, 'deviceLink'> {
  credentials: CredentialStore;
  settingsKeys: SettingsKeys;
  workingCopy: WorkingCopy | null;
  /** The processes that run this node's drivers; `nodeId` is written into the device journal. */
  createDeviceLink(nodeId: string): DeviceLink;
}
