import { listAll } from '../../api/lists.ts';
import type { PlannedChange, SiteFiles, SitePlan } from '../../api/site-files.ts';
import { defaultTimings, leaseIsSafe } from '../../control/lease.ts';
import { parseCronTimes } from '../../control/cron.ts';
import { parseRestoreWindow } from '../../control/restore-window.ts';
import { assert } from '../../foundation/assert.ts';
import { closest } from '../../foundation/closest.ts';
import { jsonEqual, pathText } from '../../foundation/json.ts';
import { HoldfastError } from '../../model/errors.ts';
import { locationOfDocument } from '../../model/documents.ts';
import type { AnyDocument, CredentialDocument, EdgeDocument, SiteDocument } from '../../model/documents.ts';
import type { TriggerDocument } from '../../model/trigger.ts';
import type { Change, DocumentStore, Version } from '../../ports/document-store.ts';
import { diffLines } from './site-diff.ts';
import { exportSite, type FieldPath, parseSiteFile, type SiteEntry, type SiteFile, type SiteProblem, type UnreadItem } from './site-file.ts';
import { locateModules } from './site-locations.ts';
import { plainSecrets, repeatedModules, zoneCycles } from './site-rules.ts';
import { noSealing, planRekey, sealDocument, sealedSummary, type Sealing } from './site-secrets.ts';
import type { EndOfTurn } from './site-source.ts';
import { World } from './site-world.ts';

export interface ApplyPlan extends SitePlan {
  /** When there is one, nothing is to be applied. */
  errors: SiteProblem[];
  /** What `runApply` stores, each with the version that the plan was made from. */
  writes: Change[];
  /** Of everything that changes, before and after; null: of none, or not of one alone. */
  location: string | null;
}

export interface PlanOptions {
  /** Names of the drivers that this server has; without it they are not checked. */
  builtins?: readonly string[];
  /** What seals secrets in settings; without it they are refused. */
  sealing?: Sealing;
  /** Lets others have their turn while a long file is read (`setImmediate`). */
  endOfTurn?: EndOfTurn;
}

/**
 * What the text would change; changes nothing. The text says all of each document that it has: a field left out gets its
 * default. Documents that it does not have stay as they are: deletion is not part of apply.
 */
export async function planApply(text: string, store: DocumentStore, options: PlanOptions = {}): Promise<ApplyPlan> {
  return planEntries(await parseSiteFile(text, options.endOfTurn), store, options);
}

async function planEntries(file: SiteFile, store: DocumentStore, options: PlanOptions): Promise<ApplyPlan> {
  const { entries, problems } = file;
  const world = new World(store, entries);
  const errors = [...problems, ...(await world.load())];
  for (const entry of entries) errors.push(...sealWanted(entry, world, options));
  const warnings: string[] = [];
  for (const entry of entries) {
    errors.push(...fieldProblems(entry, options));
    warnings.push(...(await warningsOf(entry, world)));
  }
  warnings.push(...plainSecrets(entries, world));
  for (const item of file.unread) if (item.kind === 'edge') errors.push(...unreadEdgeProblems(item));
  const unread = new Set(file.unread.map(({ fields }) => fields['id']));
  // A document that could not be read is no missing one.
  if (!file.nameless) for (const entry of entries) errors.push(...(await referenceProblems(entry, world, unread)));
  for (const entry of entries) errors.push(...repeatedModules(entry));
  errors.push(...(await zoneCycles(entries, world)));
  // Which location a module has is said by systems that could not be read, too.
  if (problems.length === 0) errors.push(...(await locateModules(entries, world)));
  errors.sort((a, b) => a.line - b.line || a.column - b.column);
  return { ...(errors.length === 0 ? changesOf(world) : { changes: [], unchanged: 0, writes: [], location: null }), warnings, errors };
}

/** From here on the world knows the document without its secrets. */
function sealWanted(entry: SiteEntry, world: World, { sealing = noSealing }: PlanOptions): SiteProblem[] {
  const { id } = entry.document;
  // Another one of the same id was refused.
  if (world.wanted.get(id) !== entry.document) return [];
  const { document, problems } = sealDocument(entry, world.storedBefore(id)?.document ?? null, sealing);
  world.wanted.set(id, document);
  return problems;
}

/** Stores all of the plan or nothing. Throws INPUT_INVALID when it has errors, VERSION_CONFLICT when the store has moved on. */
export async function runApply(plan: ApplyPlan, store: DocumentStore): Promise<Version[]> {
  refuseErrors(plan);
  return plan.writes.length === 0 ? [] : store.apply(plan.writes);
}

/** What the API serves. `settled`: resolves when everybody knows what was stored; who asked hears of it then. */
export function createSiteFiles(store: DocumentStore, options: PlanOptions = {}, settled = async (): Promise<void> => undefined): SiteFiles {
  return {
    plan: async (text) => {
      const plan = await planApply(text, store, options);
      refuseErrors(plan);
      const { changes, unchanged, warnings, location } = plan;
      return {
        plan: { changes, unchanged, warnings },
        location,
        run: async () => {
          await runApply(plan, store);
          await settled();
        },
      };
    },
    export: () => exportSite(store),
    put: async (document, expect) => {
      const version = await putDocument(document, expect, store, options);
      await settled();
      return version;
    },
    remove: async (id, expect) => {
      await removeDocument(id, expect, store);
      await settled();
    },
    sealed: () => sealedSummary(store, options.sealing ?? noSealing),
    rekey: () => planRekey(store, options.sealing ?? noSealing),
  };
}

/** One document under the rules of a file. What else must change with it, as the location of its modules, changes with it. */
async function putDocument(given: SiteDocument, expect: Version | null, store: DocumentStore, options: PlanOptions): Promise<Version> {
  const place: SiteEntry['place'] = (field) => ({ line: 0, column: 0, path: pathText(field) });
  const stored = await store.get(given.id);
  const { document, problems } = sealDocument({ document: given, place }, stored?.document ?? null, options.sealing ?? noSealing);
  const plan = await planEntries({ entries: [{ document, place }], problems, unread: [], nameless: false }, store, options);
  const [first] = plan.errors;
  if (first !== undefined) throw new HoldfastError('INPUT_INVALID', { field: `body.${first.path}`, problem: first.problem });
  const others = plan.writes.filter((write) => write.op === 'put' && write.document.id !== document.id);
  const [version] = await store.apply([{ op: 'put', document, expect }, ...others]);
  assert(version !== undefined, 'a store answers a version per change');
  return version;
}

/** What others still refer to stays. */
async function removeDocument(id: string, expect: Version, store: DocumentStore): Promise<void> {
  for (const kind of ['sys', 'mod', 'zone'] as const) {
    const user = (await listAll(store, kind)).find((document) => document.id !== id && referencesOf(document).some((reference) => reference.id === id));
    if (user !== undefined) throw new HoldfastError('IN_USE', { id, by: user.id });
  }
  await store.apply([{ op: 'remove', id, expect }]);
}

/** `3:5 systems[0].name: is missing`. */
export const problemLine = ({ line, column, path, problem }: SiteProblem): string =>
  `${line}:${column} ${path === '' ? '' : `${path}: `}${problem}`;

/** More would be no help. */
const PROBLEMS_SHOWN = 50;

function refuseErrors({ errors }: ApplyPlan): void {
  if (errors.length === 0) return;
  const shown = errors.slice(0, PROBLEMS_SHOWN).map(problemLine);
  if (errors.length > PROBLEMS_SHOWN) shown.push(`and ${errors.length - PROBLEMS_SHOWN} more`);
  const problem = shown.length === 1 ? shown.join('') : `${errors.length} problems\n  ${shown.join('\n  ')}`;
  throw new HoldfastError('INPUT_INVALID', { field: 'text', problem });
}

function changesOf(world: World): Pick<ApplyPlan, 'changes' | 'unchanged' | 'writes' | 'location'> {
  const changes: PlannedChange[] = [];
  const writes: Change[] = [];
  const locations = new Set<string | null>();
  for (const document of world.wanted.values()) {
    const stored = world.storedBefore(document.id);
    if (stored !== null && jsonEqual({ ...stored.document }, { ...document })) continue;
    // A credential cannot be there: that id would have been refused.
    const before = stored === null || isCredential(stored.document) ? null : stored.document;
    changes.push({ op: before === null ? 'create' : 'update', kind: document.type, id: document.id, details: diffLines(before, document) });
    writes.push({ op: 'put', document, expect: stored?.version ?? null });
    for (const one of before === null ? [document] : [before, document]) locations.add(locationOfDocument(one));
  }
  const [location = null] = locations;
  return { changes, unchanged: world.wanted.size - changes.length, writes, location: locations.size === 1 ? location : null };
}

const isCredential = (document: AnyDocument): document is CredentialDocument => document.type === 'api_key' || document.type === 'token';

interface Reference {
  field: FieldPath;
  id: string;
  kind: SiteDocument['type'];
}

async function referenceProblems(entry: SiteEntry, world: World, unread: ReadonlySet<unknown>): Promise<SiteProblem[]> {
  const problems: SiteProblem[] = [];
  for (const { field, id, kind } of referencesOf(entry.document)) {
    const found = await world.document(id);
    if (found?.type === kind || unread.has(id)) continue;
    const problem = found === null ? `there is no ${kind} "${id}", neither in the file nor in the store` : `"${id}" is of the kind ${found.type}, not ${kind}`;
    problems.push({ ...entry.place(field), problem });
  }
  return problems;
}

function referencesOf(document: SiteDocument): Reference[] {
  switch (document.type) {
    case 'sys':
      return [
        ...locationReference(document.edge_control_id),
        ...document.zones.map((id, i): Reference => ({ field: ['zones', i], id, kind: 'zone' })),
        ...document.modules.map((id, i): Reference => ({ field: ['modules', i], id, kind: 'mod' })),
        ...document.triggers.map((id, i): Reference => ({ field: ['triggers', i], id, kind: 'trigger' })),
      ];
    case 'mod':
      return [...locationReference(document.edge_control_id), { field: ['driver_id'], id: document.driver_id, kind: 'driver' }];
    case 'zone':
      return document.parent_id === null ? [] : [{ field: ['parent_id'], id: document.parent_id, kind: 'zone' }];
    case 'edge':
    case 'driver':
    case 'trigger':
      return [];
  }
}

const locationReference = (id: string | null): Reference[] => (id === null ? [] : [{ field: ['edge_control_id'], id, kind: 'edge' }]);

function fieldProblems(entry: SiteEntry, { builtins }: PlanOptions): SiteProblem[] {
  const { document } = entry;
  if (document.type === 'edge') return edgeProblems(document, entry);
  if (document.type === 'trigger') return triggerProblems(document, entry);
  if (document.type !== 'driver' || builtins === undefined || builtins.includes(document.builtin)) return [];
  const meant = closest(document.builtin, builtins);
  const advice = meant === null ? `there are ${builtins.join(', ')}` : `did you mean ${meant}?`;
  return [{ ...entry.place(['builtin']), problem: `no driver "${document.builtin}" comes with this server, nor lies in its HOLDFAST_DRIVERS; ${advice}` }];
}

function edgeProblems(edge: EdgeDocument, entry: SiteEntry): SiteProblem[] {
  // Without a window the time zone is checked all the same: it is a mistake that would show much later.
  const problems = windowProblems({ start: edge.window_start ?? ANY_START, timezone: edge.timezone }, entry);
  if (edge.policy === 'exclusive' && !leaseIsSafe(defaultTimings)) {
    const problem = 'the times of the lease do not keep edge and master apart: (T - m + D)(1 + r) must not exceed (T(1 + r) + L)(1 - r)';
    problems.push({ ...entry.place(['policy']), problem });
  }
  return problems;
}

const ANY_START = '0 0 * * *';

/** Of rule and time zone each, and not only what is wrong first. */
function windowProblems({ start, timezone }: { start: string; timezone: string }, entry: Pick<SiteEntry, 'place'>): SiteProblem[] {
  const check = (window_start: string, zone: string): SiteProblem[] =>
    inputProblems(() => parseRestoreWindow({ window_start, timezone: zone, window_length: 3_600 }), entry);
  return [...check(start, 'UTC'), ...check(ANY_START, timezone)];
}

/** Something else of it does not fit: rule and time zone are judged all the same. */
function unreadEdgeProblems(item: UnreadItem): SiteProblem[] {
  const { window_start: start, timezone } = item.fields;
  return windowProblems({ start: typeof start === 'string' ? start : ANY_START, timezone: typeof timezone === 'string' ? timezone : 'UTC' }, item);
}

function triggerProblems(trigger: TriggerDocument, entry: SiteEntry): SiteProblem[] {
  const problems: SiteProblem[] = [];
  for (const [i, time] of trigger.conditions.time_dependents.entries()) {
    if (time.type === 'at') continue;
    const at = ['conditions', 'time_dependents', i] as const;
    problems.push(...inputProblems(() => parseCronTimes(time.cron, time.timezone, 'cron'), entry, at));
  }
  if (trigger.enable_webhook && trigger.webhook_secret === '') {
    const problem = 'is missing: a webhook has a secret of its own, of 16 to 200 characters';
    problems.push({ ...entry.place(['webhook_secret']), problem });
  }
  return problems;
}

/** What is wrong with the field that the error names, under `at`. */
function inputProblems(check: () => unknown, entry: Pick<SiteEntry, 'place'>, at: FieldPath = []): SiteProblem[] {
  try {
    check();
    return [];
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    const { field, problem } = error.facts;
    return typeof field === 'string' && typeof problem === 'string' ? [{ ...entry.place([...at, field]), problem }] : [];
  }
}

/** A token that has ended counts: its user will have another one. */
async function isNobody(id: string, world: World): Promise<boolean> {
  const stored = await world.stored(id);
  return (stored === null || !isCredential(stored.document)) && !(await world.tokenUsers()).has(id);
}

async function warningsOf({ document }: SiteEntry, world: World): Promise<string[]> {
  if (document.type !== 'edge') return [];
  const warnings: string[] = [];
  if (document.policy === 'exclusive' && document.failover) {
    const lease = `${defaultTimings.leaseMs / 1_000} s`;
    warnings.push(
      `${document.id}: policy exclusive: a master that is down longer than the lease (${lease}) darkens the site: ` +
        'the edge lets go, and nobody controls it until a master is back or somebody on site overrides',
    );
  }
  if (document.policy === 'exclusive' && !document.failover) {
    warnings.push(`${document.id}: policy exclusive has no effect under failover: false, for the master never takes over`);
  }
  for (const id of document.admins) {
    // Keys and tokens do not travel in files, so a file must be good without them.
    if (await isNobody(id, world)) warnings.push(`${document.id}: admins names "${id}", and there is no API key of that id, nor a token of that user, yet`);
  }
  return warnings;
}
