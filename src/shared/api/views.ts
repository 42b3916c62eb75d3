import type { z } from 'zod';
import { formatEpoch } from '../control/epoch.ts';
import type { ApiKeyDocument, SystemDocument } from '../model/documents.ts';
import type { HistoryEntry } from '../ports/control-journal.ts';
import type { ControlEvent, LocationView } from '../runtime/node.ts';
import type { apiKeySchema, controlEventSchema, History, Location, System } from '../client-api/schemas.ts';

/** From what the node says to what clients read: snake_case, seconds, epochs as text. */

const seconds = (ms: number): number => Math.round(ms) / 1_000;
const secondsOrNull = (ms: number | null): number | null => (ms === null ? null : seconds(ms));

export function locationOf(view: LocationView): Location {
  return {
    id: view.id,
    name: view.name,
    holder: view.holder,
    epoch: formatEpoch(view.epoch),
    reason: view.reason,
    since: seconds(view.sinceMs),
    state: view.state,
    link: { state: view.link },
    policy: view.policy,
    failover: view.failover,
    timeout: view.timeoutSeconds,
    paused: view.paused,
    window: { open: view.window.open, next: secondsOrNull(view.window.nextMs) },
    due_in: secondsOrNull(view.dueInMs),
    hold_down: seconds(view.holdDownMs),
    dual_control_seconds: view.dualControlSeconds,
    modules: view.modules,
  };
}

export function historyOf(entry: HistoryEntry): History {
  const { sequence, holder, state, reason } = entry;
  return { sequence, time: seconds(entry.wallMs), holder, state, reason, epoch: formatEpoch(entry.epoch) };
}

export function systemOf(document: SystemDocument): System {
  const { id, name, description, edge_control_id, zones, modules } = document;
  return { id, name, description, edge_control_id, zones, modules };
}

export function apiKeyOf(document: ApiKeyDocument): z.output<typeof apiKeySchema> {
  const { id, name, role, created_at, revoked } = document;
  return { id, name, role, created_at, revoked };
}

export function controlEventOf(event: ControlEvent): z.output<typeof controlEventSchema> {
  const { location, holder, state, reason } = event;
  return { location, holder, state, reason, epoch: formatEpoch(event.epoch), time: seconds(event.atMs) };
}
