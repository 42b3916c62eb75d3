import type { Json } from '../foundation/json.ts';
import type { ApiKeyDocument } from './documents.ts';
import { limits } from './limits.ts';

interface KindRow {
  /** The least role that may read it. */
  role: ApiKeyDocument['role'];
  meaning: string;
}

/** What an event is about. `docs/operations.md` lists the same rows; a test compares them both ways. */
export const eventKinds = {
  control: { role: 'viewer', meaning: 'Moves of control' },
  'dual-control': { role: 'viewer', meaning: 'Both sides held a location' },
  link: { role: 'viewer', meaning: 'Links that opened, broke or were refused' },
  driver: { role: 'viewer', meaning: 'Modules with a problem, driver hosts that ended' },
  trigger: { role: 'viewer', meaning: 'Triggers that fired, failed, or fired on both sides' },
  documents: { role: 'viewer', meaning: 'Copies of documents that an edge took' },
  server: { role: 'viewer', meaning: 'The life of this server' },
  operator: { role: 'operator', meaning: 'Orders of operators' },
  enrolment: { role: 'admin', meaning: 'Who may connect as an edge' },
  access: { role: 'admin', meaning: 'Refused access to the client API' },
  audit: { role: 'admin', meaning: 'Every request that changes something, and its result' },
  command: { role: 'admin', meaning: 'Every command, call of a webhook and look at log lines, and its result: however many, they push out no `audit`' },
  refused: { role: 'admin', meaning: 'The same of whoever may not, or asks too often: however many, they push out no `audit` and no `command`' },
} as const satisfies Record<string, KindRow>;

export type EventKind = keyof typeof eventKinds;
export const kindNames = Object.keys(eventKinds) as EventKind[];

/** How many events of a kind are kept: one that happens all the time must not push out what is rare. */
export function eventsKept(kind: EventKind): number {
  if (kind === 'command') return limits.commandEntries;
  return kind === 'audit' ? limits.auditEntries : limits.eventEntries;
}

export interface EventRow {
  kind: EventKind;
  /** The fact that names the location; null: it concerns the whole server. */
  location: string | null;
  /** The fact that names who did it; null: nobody did. */
  who: string | null;
  /** What else is kept. Anything that is not named here stays in the log. */
  facts: readonly string[];
  meaning: string;
}

const row = (kind: EventKind, { location = null, who = null, facts = [], meaning }: Partial<EventRow> & { meaning: string }): EventRow => ({
  kind,
  location,
  who,
  facts,
  meaning,
});
/** What the handler of a request may say of it in the audit. Who asked for what, and the result, is said of all. */
const notedFacts = [
  'dryRun', 'changes', 'documents', 'fields', 'path', 'edge', 'document', 'key', 'keyRole', 'name', 'token', 'tokenUser', 'tokenRole', 'expiresAt', 'summary',
  'file', 'bytes', 'commit', 'seconds', 'module', 'modules', 'nodes', 'failures', 'cancelled', 'servedBy',
] as const;
export type NotedFacts = Partial<Record<(typeof notedFacts)[number] | 'location' | 'to' | 'cancelledBy', Json>>;

/** Of whoever has no valid credential, or one that may not, or asks too often. */
const REFUSALS: ReadonlySet<number> = new Set([401, 403, 429]);

/** The word of the record of a request that ended with this status: those who are refused fill a shelf of their own. */
export const recordedAs = <W extends 'audit' | 'command'>(word: W, status: number): W | 'refused' => (REFUSALS.has(status) ? 'refused' : word);

const ofEdge = (meaning: string): EventRow => row('enrolment', { location: 'edge', meaning });

/**
 * The lines of the log that are events too, by their word, with the facts that an event keeps.
 * `docs/operations.md` lists the same rows; a test compares them both ways.
 */
export const eventTable: Readonly<Record<string, EventRow>> = {
  control: row('control', {
    location: 'location',
    facts: ['from', 'state', 'holder', 'reason', 'epoch'],
    meaning: 'The control machine of a location moved, for the reason given',
  }),
  'location-not-made': row('control', {
    location: 'location',
    facts: ['error'],
    meaning: 'The control machine of a location that was applied could not be made; the next change of its document tries again, or a restart',
  }),
  'dual-control': row('dual-control', { location: 'location', facts: ['ms', 'epochs'], meaning: 'For how long both sides held, and under which epochs' }),
  'link-up': row('link', { location: 'location', facts: ['peer', 'remote', 'resumed'], meaning: 'The link is negotiated' }),
  'link-down': row('link', { location: 'location', facts: ['peer', 'reason'], meaning: 'The link broke, for the reason given' }),
  'link-refused': row('link', {
    location: 'edge',
    facts: ['remote', 'reason'],
    meaning: 'Somebody was refused at the link port; the first of a kind in a minute',
  }),
  'status-dropped': row('link', {
    location: 'location',
    facts: ['module', 'reason'],
    meaning: 'An edge reports more than is kept: of modules that no document names, or of long values; the first in a minute',
  }),
  'module-problem': row('driver', {
    location: 'location',
    facts: ['module', 'problem'],
    meaning: 'A module does not start, its breaker is open, or its driver does something wrong (once a minute at most)',
  }),
  'driver-host-ended': row('driver', {
    facts: ['reason', 'exit', 'culprit', 'atWork'],
    meaning: 'A driver host process ended; its modules start in another one. `atWork`: without a culprit, whose calls were under way',
  }),
  'driver-isolated': row('driver', { facts: ['driver', 'strikes'], meaning: 'A driver ended its host repeatedly and got one of its own' }),
  'driver-reloaded': row('driver', {
    location: 'location',
    facts: ['driver', 'modules', 'failed'],
    meaning: 'The code of a driver was loaded anew: at so many modules, of which so many do not run it',
  }),
  'driver-edited': row('driver', {
    location: 'location',
    who: 'by',
    facts: ['driver', 'file', 'modules', 'failed'],
    meaning: 'Code that came with a request is tried live: at so many modules, of which so many do not run it',
  }),
  'driver-reverted': row('driver', {
    location: 'location',
    who: 'by',
    facts: ['driver', 'modules', 'failed'],
    meaning: 'Code that was tried live was taken back',
  }),
  'modules-converged': row('driver', {
    location: 'location',
    facts: ['started', 'stopped', 'restarted', 'updated', 'modules'],
    meaning: 'Modules of a running location followed their documents: so many of each, and which (20 at most); the others noticed nothing',
  }),
  'modules-progress': row('driver', {
    location: 'location',
    facts: ['action', 'progress', 'ms'],
    meaning: 'How far a start or stop of modules has come that takes more than a second, each second',
  }),
  'modules-cancelled': row('driver', {
    location: 'location',
    who: 'by',
    facts: ['action', 'progress'],
    meaning: 'An operator ended a start or stop of modules',
  }),
  'commit-changed': row('driver', {
    location: 'location',
    facts: ['from', 'to', 'modules'],
    meaning: 'The wanted commit of the drivers is in place; so many modules were given other code',
  }),
  'commit-not-taken': row('driver', {
    location: 'location',
    facts: ['commit', 'problem'],
    meaning: 'The wanted commit of the drivers could not be had, or does not run; what ran runs on',
  }),
  rollout: row('operator', {
    who: 'by',
    facts: ['rollout', 'commit', 'state', 'locations', 'problem'],
    meaning: 'A roll-out of a commit of the drivers began or ended',
  }),
  'rollout-step': row('driver', {
    location: 'location',
    facts: ['rollout', 'commit', 'state', 'problem'],
    meaning: 'Where a roll-out is at a location',
  }),
  repository: row('operator', {
    location: 'location',
    who: 'by',
    facts: ['action', 'from', 'to', 'modules'],
    meaning: 'Somebody pulled, reset or checked out the working copy of drivers of this server',
  }),
  'modules-not-started': row('driver', { location: 'location', facts: ['error'], meaning: 'The modules of a location could not be started' }),
  'trigger-fired': row('trigger', {
    location: 'location',
    facts: ['trigger', 'system', 'occurrence', 'epoch'],
    meaning: 'A trigger fired in a system; its actions begin',
  }),
  'trigger-failed': row('trigger', {
    location: 'location',
    facts: ['trigger', 'system', 'occurrence', 'action', 'error'],
    meaning: 'An action of a trigger failed, or all of them for the reason given; none is done again',
  }),
  'trigger-missed': row('trigger', {
    location: 'location',
    facts: ['trigger', 'system'],
    meaning: 'A time came while nobody drove the location, too long ago to make up for it',
  }),
  'trigger-double': row('trigger', {
    location: 'location',
    facts: ['trigger', 'system', 'occurrence', 'epochs'],
    meaning: 'One occurrence fired on both sides, under these epochs',
  }),
  'snapshot-taken': row('documents', { facts: ['documents', 'sequence'], meaning: 'An edge took a fresh copy of all documents' }),
  'snapshot-restarted': row('documents', { facts: ['from', 'to'], meaning: 'The documents were restored while an edge copied them' }),
  ready: row('server', { facts: ['origin'], meaning: 'The server has started' }),
  'stood-still': row('server', {
    facts: ['ms'],
    meaning: 'The process of this master did not run for so long, such as while its machine was frozen; no edge is taken for lost because of it',
  }),
  'journal-not-written': row('server', { location: 'location', facts: ['error'], meaning: 'The control journal could not be written' }),
  'own-certificate-expired': row('server', { facts: ['ended'], meaning: 'The certificate of this edge has ended' }),
  order: row('operator', { location: 'location', who: 'by', facts: ['order'], meaning: 'An operator ordered it' }),
  'edge-added': ofEdge('An enrolment string was made'),
  'edge-enrolled': ofEdge('An edge used its enrolment string'),
  'edge-rotated': ofEdge('An enrolment string for a new secret was made'),
  'edge-secret-set': ofEdge('A secret was set by hand'),
  'edge-revoked': ofEdge('The right of an edge to connect ended'),
  'certificate-refused': row('enrolment', { location: 'edge', facts: ['hosts', 'taken', 'error'], meaning: 'An edge asked for a certificate and got none' }),
  'access-refused': row('access', {
    who: 'who',
    facts: ['what', 'reason', 'remote', 'requestId'],
    meaning: 'No valid key, or one that may not; the first of a kind in a minute from one address',
  }),
  audit: row('audit', {
    location: 'location',
    who: 'who',
    facts: [
      'user', 'role', 'what', 'action', 'params', 'via', 'method', 'hosts', 'until', ...notedFacts,
      'from', 'to', 'result', 'status', 'remote', 'requestId',
    ],
    meaning: 'Who asked for a change, of what, with which result, and from where; of a move, one for each of the two locations',
  }),
  command: row('command', {
    location: 'location',
    who: 'who',
    facts: ['user', 'role', 'what', 'params', 'via', 'module', 'method', 'servedBy', 'cancelledBy', 'result', 'status', 'remote', 'requestId'],
    meaning: 'Who ran which method of which module, or called which webhook, with which result, and from where',
  }),
  refused: row('refused', {
    location: 'location',
    who: 'who',
    facts: ['user', 'role', 'what', 'params', 'via', 'module', 'method', 'result', 'status', 'remote', 'requestId'],
    meaning: 'Who asked for a change or a command and was refused, and from where',
  }),
};
