import { z } from 'zod';
import type { Json } from '../../foundation/json.ts';
import { documentSchemas, MIN_TIMEOUT_SECONDS, type SiteDocument } from '../../model/documents.ts';
import { conditionsOf, functionsOf } from './orm-triggers.ts';

/**
 * Documents of ACA Engine, as its couchbase-orm models wrote them, as documents of ours. Its models are the reference:
 * acaprojects/ruby-engine, app/models/orchestrator. Nothing is dropped or changed without a line in the report.
 */

export interface ForeignDocument {
  id: string;
  content: unknown;
}

export interface FieldChange {
  field: string;
  from: Json;
  /** null: it has no place here. */
  to: Json;
  why: string;
}

export interface ImportedDocument {
  /** As it was. */
  id: string;
  changes: FieldChange[];
}

export interface OrmImport {
  documents: SiteDocument[];
  /** One for each document that was read and taken. */
  report: ImportedDocument[];
  /** Not taken, and why. */
  skipped: { id: string; why: string }[];
}

const recordSchema = z.looseObject({ type: z.string() });
type Fields = Record<string, Json>;

/** Ids that refer to each other are changed alike: `~` is the one letter of theirs that ours lack, and `.` none of theirs. */
const idOf = (id: string): string => id.replaceAll('~', '.');
const textOf = (value: Json | undefined): string => (typeof value === 'string' ? value : '');
const listOf = (value: Json | undefined): string[] => (Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []);
const wordsOf = (value: Json | undefined): string[] => [...new Set(textOf(value).split(/[\s,]+/).filter((word) => word !== ''))];

/** What became of each field of one document. */
class Conversion {
  readonly changes: FieldChange[] = [];
  readonly #from: Fields;
  readonly #seen = new Set(['type', 'id', 'created_at', 'updated_at']);

  constructor(from: Fields) {
    this.#from = from;
  }

  /** A field that keeps its meaning; empty ones get our default. */
  keep(field: string): Fields {
    this.#seen.add(field);
    const value = this.#from[field];
    return value === undefined || value === null ? {} : { [field]: value };
  }

  /** Another name, unit or form. */
  turn(field: string, to: string, convert: (value: Json) => Json, why: string): Fields {
    this.#seen.add(field);
    const from = this.#from[field];
    if (from === undefined || from === null) return {};
    const value = convert(from);
    if (field !== to || JSON.stringify(value) !== JSON.stringify(from)) this.changes.push({ field, from, to: value, why });
    return { [to]: value };
  }

  drop(field: string, why: string, secret = false): void {
    this.#seen.add(field);
    const from = this.#from[field];
    if (from === undefined || from === null || from === '' || (typeof from === 'object' && Object.keys(from).length === 0)) return;
    this.changes.push({ field, from: secret ? '[redacted]' : from, to: null, why });
  }

  /** Everything that nothing was said of. */
  dropRest(): void {
    for (const field of Object.keys(this.#from)) if (!this.#seen.has(field)) this.drop(field, 'is not known here');
  }
}

export function importOrm(sources: readonly ForeignDocument[]): OrmImport {
  const skipped: OrmImport['skipped'] = [];
  const known = new Map<string, Fields>();
  for (const { id, content } of sources) {
    const record = recordSchema.safeParse(content);
    if (record.success) known.set(id, record.data as Fields);
    else skipped.push({ id, why: typeof content === 'string' ? 'an entry of a unique index: ids are found without' : 'it has no type' });
  }
  const world: World = { known, instances: [...known.values()].filter(({ type }) => type === 'trig') };
  const documents: SiteDocument[] = [];
  const report: ImportedDocument[] = [];
  for (const [id, fields] of known) {
    const kind = kinds[textOf(fields['type'])];
    if (kind === undefined) {
      const why = fields['type'] === 'trig' ? 'its trigger is listed by its system' : `documents of the type ${textOf(fields['type'])} have no place here`;
      skipped.push({ id, why });
      continue;
    }
    const conversion = new Conversion(fields);
    const made = kind(conversion, world, { id, fields });
    conversion.dropRest();
    const document = documentSchemas[made.type].safeParse({ ...made, id: idOf(id) });
    if (!document.success) {
      const [issue] = document.error.issues;
      skipped.push({ id, why: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}` });
      continue;
    }
    documents.push(document.data);
    const renamed: FieldChange[] = idOf(id) === id ? [] : [{ field: 'id', from: id, to: idOf(id), why: 'a tilde may not stand in an id' }];
    report.push({ id, changes: [...renamed, ...conversion.changes] });
  }
  return { documents, report, skipped };
}

interface World {
  known: ReadonlyMap<string, Fields>;
  instances: readonly Fields[];
}
type Made = Fields & { type: SiteDocument['type'] };
type Kind = (conversion: Conversion, world: World, source: { id: string; fields: Fields }) => Made;

const ids = (value: Json): Json => listOf(value).map(idOf);
const TILDE = 'a tilde may not stand in an id';
const EDGE = 'is called so here';

const kinds: Readonly<Record<string, Kind>> = {
  edge: (of) => {
    of.drop('password', 'edges are enrolled anew: holdfast edge add', true);
    of.drop('host_origin', 'an edge says itself where it is: HOLDFAST_ORIGIN');
    for (const field of ['online', 'failover_active', 'failover_time', 'startup_time']) of.drop(field, 'is known live, and not stored');
    of.drop('server_port', 'edges dial the master');
    of.drop('master_id', 'the master is the one that enrolled the edge');
    of.drop('settings', 'an edge has none');
    const seconds = (value: Json): Json => Math.max(MIN_TIMEOUT_SECONDS, Math.ceil(Number(value) / 1_000));
    return {
      type: 'edge',
      ...of.keep('name'), ...of.keep('description'), ...of.keep('failover'), ...of.keep('window_start'), ...of.keep('window_length'),
      ...of.turn('timeout', 'timeout', seconds, `was in milliseconds, and is in seconds, at least ${MIN_TIMEOUT_SECONDS}`),
      ...of.turn('admins', 'admins', ids, TILDE),
    };
  },
  sys: (of, { instances }, { id }) => {
    of.drop('installed_ui_devices', 'has no place here: keep it in the metadata');
    const own = instances.filter((instance) => instance['control_system_id'] === id && instance['enabled'] !== false);
    const triggers = own.map((instance) => textOf(instance['trigger_id']));
    if (triggers.length > 0) of.changes.push({ field: 'triggers', from: null, to: triggers.map(idOf), why: 'from its trigger instances (`trig`)' });
    return {
      type: 'sys',
      ...of.keep('name'), ...of.keep('description'), ...of.keep('email'), ...of.keep('capacity'), ...of.keep('bookable'),
      ...of.keep('support_url'), ...of.keep('settings'),
      ...of.turn('features', 'features', wordsOf, 'was a text, and is a list'),
      ...of.turn('edge_id', 'edge_control_id', (value) => idOf(textOf(value)), EDGE),
      ...of.turn('zones', 'zones', ids, TILDE), ...of.turn('modules', 'modules', ids, TILDE),
      triggers: [...new Set(triggers.map(idOf))],
    };
  },
  mod: (of, { known }, { fields }) => {
    of.drop('connected', 'is known live, and not stored');
    of.drop('role', 'is that of its driver');
    of.drop('ignore_connected', 'has no place here');
    of.drop('control_system_id', 'a logic module belongs to the system that lists it');
    const driver = known.get(textOf(fields['dependency_id']));
    const wanted = textOf(fields['custom_name']) || textOf(driver?.['module_name']);
    const name = wanted.replaceAll(/[^A-Za-z0-9]/g, '');
    of.turn('custom_name', 'name', () => name, 'is called so here');
    if (textOf(fields['custom_name']) === '') of.changes.push({ field: 'name', from: null, to: name, why: 'the module_name of its dependency' });
    return {
      type: 'mod',
      name,
      ...of.keep('ip'), ...of.keep('port'), ...of.keep('tls'), ...of.keep('udp'), ...of.keep('makebreak'), ...of.keep('uri'), ...of.keep('settings'),
      ...of.keep('running'), ...of.keep('ignore_startstop'), ...of.keep('notes'),
      ...of.turn('dependency_id', 'driver_id', (value) => idOf(textOf(value)), 'dependencies are drivers here'),
      ...of.turn('edge_id', 'edge_control_id', (value) => idOf(textOf(value)), EDGE),
    };
  },
  dep: (of, _, { fields }) => {
    of.drop('module_name', 'is the name of its modules, unless they have one of their own');
    of.drop('ignore_connected', 'has no place here');
    const isPort = Number.isInteger(Number(fields['default'])) && fields['default'] !== '';
    const port = isPort ? of.turn('default', 'default_port', Number, 'is called so here') : {};
    if (!isPort) of.drop('default', 'a default address of a service has no place here: set the uri of its modules');
    const code = (value: Json): Json => textOf(value).replaceAll('::', '-').replaceAll(/([a-z\d])([A-Z])/g, '$1-$2').toLowerCase();
    const device = (value: Json): Json => (value === 'ssh' ? 'device' : value);
    return {
      type: 'driver',
      ...of.keep('name'), ...of.keep('description'), ...of.keep('settings'), ...port,
      ...of.turn('role', 'role', device, 'SSH is no way to a device yet'),
      ...of.turn('class_name', 'builtin', code, 'names the driver in HOLDFAST_DRIVERS, which is to be written: docs/writing-drivers.md'),
    };
  },
  zone: (of) => {
    of.drop('triggers', 'its systems list them themselves');
    const tags = of.turn('tags', 'tags', wordsOf, 'was a text, and is a list');
    return { type: 'zone', ...of.keep('name'), ...of.keep('description'), ...of.keep('settings'), ...tags };
  },
  trigger: (of, _, { fields }) => {
    const conditions = conditionsOf(fields['conditions'] ?? []);
    const actions = functionsOf(fields['actions'] ?? []);
    for (const left of conditions.left) of.changes.push({ field: 'conditions', from: left, to: null, why: 'is no condition here' });
    for (const left of actions.left) of.changes.push({ field: 'actions', from: left, to: null, why: 'is no action here: e-mail leaves through a webhook' });
    return {
      type: 'trigger',
      ...of.keep('name'), ...of.keep('description'),
      ...of.turn('debounce_period', 'debounce_period', (value) => Number(value) * 1_000, 'was in seconds, and is in milliseconds'),
      ...of.turn('conditions', 'conditions', () => conditions.made, 'are named here'),
      ...of.turn('actions', 'actions', () => ({ functions: actions.made }), 'are named here'),
    };
  },
};
