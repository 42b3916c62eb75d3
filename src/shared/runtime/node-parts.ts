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

/** What a node of either role is composed of, besides its end of the link. */
export interface NodeParts {
  clock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
  store: DocumentStore;
  journal: ControlJournal;
  credentials: CredentialStore;
  settingsKeys: SettingsKeys;
  webhooks: Webhooks;
  /** null: drivers come from no repository. */
  workingCopy: WorkingCopy | null;
  /** The processes that run this node's drivers; `nodeId` is written into the device journal. */
  createDeviceLink(nodeId: string): DeviceLink;
}
