import type { z } from 'zod';
import { prototypeKeyIn, prototypeKeyProblem } from '../../foundation/json.ts';
import type { Json } from '../../foundation/json.ts';
import type { DocumentOf, SiteDocument, SystemDocument, ZoneDocument } from '../../model/documents.ts';
import { HoldfastError } from '../../model/errors.ts';
import { documentRoutes as routes } from '../../client-api/document-routes.ts';
import type { metadataView, settingsView } from '../../client-api/document-schemas.ts';
import { jsonValueSchema } from '../../client-api/parse.ts';
import type { Stored, Version } from '../../ports/document-store.ts';
import { versionOf } from '../document-bodies.ts';
import { answer } from './handler.ts';
import type { HandlerDeps } from './handler.ts';
import { pageOf } from '../lists.ts';
import { findDocument, locationNow } from '../modules.ts';
import { listHeaders } from '../reply.ts';
import { zoneOf } from '../views.ts';

type WithSettings = Exclude<SiteDocument, { type: 'edge' | 'trigger' }>;
type WithMetadata = SystemDocument | ZoneDocument;

/** Settings and metadata, which published clients read and write apart from the documents that hold them. */
export function settingsHandlers(deps: HandlerDeps) {
  const { store } = deps.node;
  return { ...settingsOnly(deps), ...metadataOnly(deps), systemMetadata: answer(routes.systemMetadata, async ({ params, query }) => ({
    body: metadataOf(await findDocument(store, 'sys', params.id), query.name),
  })) };
}

function settingsOnly({ node, lists, siteFiles }: HandlerDeps) {
  const { store } = node;
  const find = async (id: string) => expectKind(await store.get(id), id, hasSettings, 'settings of');
  const update = (route: typeof routes.settingsUpdate | typeof routes.settingsReplace) =>
    answer(route, async ({ params: { id }, query, body, headers, note }) => {
      const found = await find(id);
      note({ location: locationNow(node, found.document) });
      const { document, version } = expectVersion(found, versionOf(headers, query, body));
      await siteFiles.put({ ...document, settings: parseSettings(body.settings_string) }, version);
      return { body: settingsOf(await find(id)) };
    });
  return {
    settingsList: answer(routes.settingsList, async ({ query }) => {
      const kinds = await Promise.all((['sys', 'mod', 'driver', 'zone'] as const).map((kind) => lists.all(kind)));
      const all = kinds.flat<Stored<WithSettings>[][]>().filter(({ document: { id } }) => query.parent_id === undefined || query.parent_id.includes(id));
      const { items, total } = pageOf(all, query, ({ document }) => [document.id, document.name]);
      return { body: items.map(settingsOf), headers: listHeaders(routes.settingsList.path, query, items.length, total) };
    }),
    settingsShow: answer(routes.settingsShow, async ({ params }) => ({ body: settingsOf(await find(params.id)) })),
    settingsUpdate: update(routes.settingsUpdate),
    settingsReplace: update(routes.settingsReplace),
    systemSettings: answer(routes.systemSettings, async ({ params: { id } }) => {
      const system = await findDocument(store, 'sys', id);
      const zones = await Promise.all(system.document.zones.map((zone) => findDocument(store, 'zone', zone)));
      return { body: [system, ...zones].map(settingsOf) };
    }),
    moduleSettings: answer(routes.moduleSettings, async ({ params: { id } }) => {
      const module = await findDocument(store, 'mod', id);
      return { body: [module, await findDocument(store, 'driver', module.document.driver_id)].map(settingsOf) };
    }),
  };
}

function metadataOnly({ node, lists, siteFiles }: HandlerDeps) {
  const { store } = node;
  const find = async (id: string) => expectKind(await store.get(id), id, hasMetadata, 'metadata of');
  return {
    metadataShow: answer(routes.metadataShow, async ({ params, query }) => ({ body: metadataOf(await find(params.id), query.name) })),
    metadataChildren: answer(routes.metadataChildren, async ({ params, query }) => {
      const children = (await lists.all('zone')).filter(({ document }) => document.parent_id === params.id);
      return { body: children.map((stored) => ({ zone: zoneOf(stored), metadata: metadataOf(stored, query.name) })) };
    }),
    metadataPut: answer(routes.metadataPut, async ({ params: { id }, query, body, headers, note }) => {
      note({ name: body.name });
      const found = await find(id);
      note({ location: locationNow(node, found.document) });
      const { document, version } = expectVersion(found, versionOf(headers, query, body));
      const { name, description, details } = body;
      const stored = await siteFiles.put({ ...document, metadata: { ...document.metadata, [name]: { description, details } } }, version);
      return { body: { name, description, details, parent_id: id, version: stored } };
    }),
    metadataRemove: answer(routes.metadataRemove, async ({ params: { id }, query: { name }, note }) => {
      note({ name });
      const { document, version } = await find(id);
      note({ location: locationNow(node, document) });
      const { [name]: removed, ...metadata } = document.metadata;
      if (removed === undefined || !Object.hasOwn(document.metadata, name)) throw new HoldfastError('NOT_FOUND', { kind: `metadata of ${id}`, id: name });
      await siteFiles.put({ ...document, metadata }, version);
      return { body: { id, removed: true as const } };
    }),
  };
}

const hasSettings = (stored: Stored): stored is Stored<WithSettings> => ['sys', 'mod', 'driver', 'zone'].includes(stored.document.type);
const hasMetadata = (stored: Stored): stored is Stored<WithMetadata> => stored.document.type === 'sys' || stored.document.type === 'zone';

function expectKind<S extends Stored>(stored: Stored | null, id: string, is: (stored: Stored) => stored is S, what: string): S {
  if (stored === null || !is(stored)) throw new HoldfastError('NOT_FOUND', { kind: what, id });
  return stored;
}

/** Also without a version from the client: the store refuses what changed since it was read here. */
function expectVersion<S extends { document: { id: string }; version: Version }>(stored: S, wanted: string | null): S {
  if (wanted === null || wanted === stored.version) return stored;
  throw new HoldfastError('VERSION_CONFLICT', { id: stored.document.id, expected: wanted, actual: stored.version });
}

function settingsOf({ document: { id, settings }, version }: Stored<WithSettings>): z.input<typeof settingsView> {
  return { id, parent_id: id, encryption_level: 0, settings_string: JSON.stringify(settings), keys: Object.keys(settings), version };
}

function metadataOf({ document, version }: Stored<DocumentOf<'sys' | 'zone'>>, name: string | undefined): Record<string, z.input<typeof metadataView>> {
  const entries = Object.entries(document.metadata).filter(([key]) => name === undefined || key === name);
  return Object.fromEntries(entries.map(([key, { description, details }]) => [key, { name: key, description, details, parent_id: document.id, version }]));
}

function parseSettings(text: string): Record<string, Json> {
  const invalid = (problem: string): HoldfastError => new HoldfastError('INPUT_INVALID', { field: 'body.settings_string', problem });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid('must be JSON');
  }
  // Copies of it would leave the key out, and with it all that was meant.
  const key = prototypeKeyIn(value);
  if (key !== null) throw invalid(prototypeKeyProblem(key));
  const json = jsonValueSchema.safeParse(value);
  if (!json.success || typeof json.data !== 'object' || json.data === null || Array.isArray(json.data)) throw invalid('must be a JSON object');
  return json.data;
}
