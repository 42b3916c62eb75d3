import type { z } from 'zod';
import { formatEpoch } from '../control/epoch.ts';
import type { DriverView, ModuleView, System, ZoneView } from '../client-api/document-schemas.ts';
import type { ApiKeyDocument, DriverDocument, ModuleDocument, SystemDocument, TokenDocument, ZoneDocument } from '../model/documents.ts';
import type { TriggerDocumentView, TriggerInstanceView } from '../client-api/trigger-routes.ts';
import type { Holder } from '../model/control.ts';
import { factsWithoutKeys } from '../model/redact.ts';
import type { TriggerDocument } from '../model/trigger.ts';
import type { HistoryEntry } from '../ports/control-journal.ts';
import type { Stored } from '../ports/document-store.ts';
import type { LocationView, RequestView, TriggerView } from '../runtime/node.ts';
import type { apiKeySchema, History, Location, requestSchema, tokenSchema, userSchema } from '../client-api/schemas.ts';
import type { Caller } from './auth/auth.ts';

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
    link: { state: view.link, ...(view.refused == null ? {} : { refused: view.refused }) },
    policy: view.policy,
    failover: view.failover,
    timeout: view.timeoutSeconds,
    paused: view.paused,
    window: windowOf(view.window),
    due_in: secondsOrNull(view.dueInMs),
    hold_down: seconds(view.holdDownMs),
    dual_control_seconds: view.dualControlSeconds,
    modules: view.modules,
    progress: view.progress,
    edited: view.edited,
    commit: view.commit,
  };
}

function windowOf({ open, closesMs, nextMs, schedule }: LocationView['window']): Location['window'] {
  const rule = schedule === null ? null : { start: schedule.start, length: schedule.lengthSeconds, timezone: schedule.timezone };
  return { open, closes: secondsOrNull(closesMs), next: secondsOrNull(nextMs), schedule: rule };
}

export function historyOf(entry: HistoryEntry): History {
  const { sequence, holder, state, reason } = entry;
  return { sequence, time: seconds(entry.wallMs), holder, state, reason, epoch: formatEpoch(entry.epoch) };
}

/** A stored system as clients read it. */
export function systemOf({ document, version }: Stored<SystemDocument>): System {
  const { type: _, settings: __, metadata: ___, ...fields } = document;
  return { ...fields, version };
}

export function zoneOf({ document, version }: Stored<ZoneDocument>): ZoneView {
  const { type: _, settings: __, metadata: ___, ...fields } = document;
  return { ...fields, version };
}

/** Numbers of roles as the newer generation has them. */
const roleNumbers = { device: 1, service: 2, logic: 99, trigger: 99 } as const;
export type DriverRole = DriverDocument['role'];
export const roleNumber = (role: DriverRole): number => roleNumbers[role];

export function driverOf({ document, version }: Stored<DriverDocument>): DriverView {
  const { type: _, settings: __, ...fields } = document;
  return { ...fields, role: roleNumber(document.role), version };
}

/** What a module is beside its document. */
export interface ModuleFacts {
  /** null: the master. */
  location: string | null;
  role: DriverRole;
  connected: boolean | null;
  /** What of its code was edited and not committed. */
  edited: string | null;
}

export function moduleOf({ document, version }: Stored<ModuleDocument>, { location, role, connected, edited }: ModuleFacts): ModuleView {
  const { type: _, settings: __, ...fields } = document;
  return { ...fields, edge_id: location, role: roleNumber(role), connected, edited, version };
}

export function triggerOf({ document, version }: Stored<TriggerDocument>): TriggerDocumentView {
  const { type: _, webhook_secret: __, actions, ...fields } = document;
  return { ...fields, actions: { functions: actions.functions, webhooks: actions.webhooks.map(({ url }) => ({ host: new URL(url).host })) }, version };
}

export function triggerInstanceOf({ id, trigger, system, location, memory, nextMs }: TriggerView, holder: Holder): TriggerInstanceView {
  const last = memory?.firings[0];
  return {
    id,
    trigger_id: trigger.id,
    control_system_id: system.id,
    name: trigger.name,
    system_name: system.name,
    enabled: trigger.enabled,
    important: trigger.important,
    enable_webhook: trigger.enable_webhook,
    location,
    state: !trigger.enabled ? 'off' : memory?.met === true ? 'met' : 'waiting',
    activated_count: memory?.count ?? 0,
    last_fired: last === undefined ? null : seconds(last.wallMs),
    occurrence: last?.occurrence ?? null,
    epoch: last === undefined ? null : formatEpoch(last.epoch),
    next: secondsOrNull(nextMs),
    served_by: holder,
  };
}

export function apiKeyOf(document: ApiKeyDocument): z.output<typeof apiKeySchema> {
  const { id, name, role, created_at, revoked } = document;
  return { id, name, role, created_at, revoked };
}

export function tokenOf(document: TokenDocument): z.output<typeof tokenSchema> {
  const { id, user, role, created_at, expires_at, issued_by, revoked } = document;
  return { id, user, role, created_at, expires_at, issued_by, revoked };
}

/** The caller as published clients read a user. */
export function userOf({ user, name, role }: Caller): z.output<typeof userSchema> {
  return { id: user, name, email: '', role, sys_admin: role === 'admin', support: role === 'admin', groups: [] };
}

export function requestOf({ sinceMs, ageMs, leftMs, ...request }: RequestView): z.output<typeof requestSchema> {
  return factsWithoutKeys({ ...request, since: seconds(sinceMs), age: seconds(ageMs), left: secondsOrNull(leftMs) });
}
