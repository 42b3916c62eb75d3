import type { z } from 'zod';
import { jsonEqual } from '../../foundation/json.ts';
import type { Json } from '../../foundation/json.ts';
import { locationOfDocument } from '../../model/documents.ts';
import type { DocumentOf, SiteDocument } from '../../model/documents.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { NotedFacts } from '../../model/events.ts';
import { limits } from '../../model/limits.ts';
import { documentRoutes as routes } from '../../client-api/document-routes.ts';
import type { Route } from '../../client-api/route.ts';
import type { Stored, Version } from '../../ports/document-store.ts';
import type { HoldfastNode } from '../../runtime/node.ts';
import { documentOf, fieldsOf, versionOf } from '../document-bodies.ts';
import { answer } from './handler.ts';
import type { HandlerDeps } from './handler.ts';
import { moduleNames, pageOf } from '../lists.ts';
import { findDocument, isConnected, locationNow, locationOfModule, moduleFacts, present } from '../modules.ts';
import { listHeaders } from '../reply.ts';
import type { ListQuery } from '../reply.ts';
import { driverOf, moduleOf, roleNumber, systemOf, zoneOf } from '../views.ts';

type Fields = Record<string, unknown>;
type Kind = Exclude<SiteDocument['type'], 'edge'>;
type ById = z.ZodType<{ id: string }>;
type Versioned = z.ZodType<{ version?: string | number | undefined }>;
type Removed = z.ZodType<unknown, { id: string; removed: true }>;

/** The routes of a kind: V is what clients read of a document, Q what lists are asked. */
interface CollectionRoutes<V, Q> {
  list: Route<z.ZodType, z.ZodType<Q>, z.ZodType, z.ZodType<unknown, V[]>>;
  add: Route<z.ZodType, z.ZodType, z.ZodType<Fields>, z.ZodType<unknown, V>>;
  update: Route<ById, Versioned, z.ZodType<Fields>, z.ZodType<unknown, V>>;
  replace: Route<ById, Versioned, z.ZodType<Fields>, z.ZodType<unknown, V>>;
  remove: Route<ById, Versioned, z.ZodType, Removed>;
}

interface Collection<K extends Kind, V, Q> {
  kind: K;
  view(stored: Stored<DocumentOf<K>>): V | Promise<V>;
  /** Which documents a query asks for. */
  filter(query: Q): Promise<(document: DocumentOf<K>) => boolean>;
  /** The document with the fields that a client sent; absent: each replaces the whole field. */
  changed?(document: DocumentOf<K>, fields: Fields): Fields;
}

export function collectionHandlers<K extends Kind, V, Q extends ListQuery>(
  { node, lists, siteFiles, random }: HandlerDeps,
  route: CollectionRoutes<V, Q>,
  { kind, view, filter, changed = (document, fields) => ({ ...document, ...fields }) }: Collection<K, V, Q>,
) {
  /** What is there, in the version that the client changed. */
  const current = async (id: string, version: string | null): Promise<Stored<DocumentOf<K>>> => {
    const stored = await findDocument(node.store, kind, id);
    if (version !== null && version !== stored.version) {
      throw new HoldfastError('VERSION_CONFLICT', { id, expected: version, actual: stored.version });
    }
    return stored;
  };
  const put = async (id: string, document: DocumentOf<K>, expect: Version | null) => {
    const version = await siteFiles.put(document, expect);
    const stored = await findDocument(node.store, kind, id);
    return { body: await view(stored), headers: { etag: `"${version}"` } };
  };
  const update = (which: CollectionRoutes<V, Q>['update']) =>
    answer(which, async ({ params: { id }, query, body, headers, note }) => {
      const { document, version } = await current(id, versionOf(headers, query, body));
      const wanted = documentOf(kind, { ...changed(document, fieldsOf(body)), id });
      note(changeFacts(node, document, wanted));
      return await put(id, wanted, version);
    });
  return {
    list: answer(route.list, async ({ query }) => {
      const fits = await filter(query);
      const found = (await lists.all(kind)).filter(({ document }) => fits(document));
      const { items, total } = pageOf(found, query, ({ document }) => textsOf(document));
      return { body: await Promise.all(items.map(view)), headers: listHeaders(route.list.path, query, items.length, total) };
    }),
    add: answer(route.add, async ({ body, note }) => {
      const { id, ...fields } = fieldsOf(body);
      const chosen = typeof id === 'string' ? id : `${kind}-${random.hex(6)}`;
      note({ document: chosen });
      const wanted = documentOf(kind, { ...fields, id: chosen });
      note({ location: locationOfDocument(wanted) });
      return await put(chosen, wanted, null);
    }),
    update: update(route.update),
    replace: update(route.replace),
    remove: answer(route.remove, async ({ params: { id }, query, headers, note }) => {
      const { document, version } = await current(id, versionOf(headers, query, {}));
      note({ location: locationNow(node, document) });
      await siteFiles.remove(id, version);
      return { body: { id, removed: true as const } };
    }),
  };
}

/** For the audit: names of what changes, never its contents, and the locations of a move. */
function changeFacts(node: HoldfastNode, before: SiteDocument, wanted: SiteDocument): NotedFacts {
  const is = new Map<string, Json>(Object.entries(before));
  const fields = Object.entries(wanted).flatMap(([name, value]: [string, Json]) => (jsonEqual(is.get(name), value) ? [] : [name]));
  const [from, to] = [locationNow(node, before), locationOfDocument(wanted)];
  const moved = to !== null && to !== from && fields.includes('edge_control_id');
  return { location: from, fields: fields.slice(0, limits.namedDocuments), ...(moved ? { to } : {}) };
}

const textsOf = (document: SiteDocument): string[] => [document.id, document.name, 'description' in document ? document.description : document.notes];

/** A filter that was not given lets everything through. */
const among = (wanted: readonly string[] | undefined, ...values: (string | null)[]): boolean =>
  wanted === undefined || values.some((value) => value !== null && wanted.includes(value));
const equals = <T>(wanted: T | undefined, value: T | null): boolean => wanted === undefined || wanted === value;

export function documentHandlers(deps: HandlerDeps) {
  return { ...systemHandlers(deps), ...moduleDocumentHandlers(deps), ...driverHandlers(deps), ...zoneHandlers(deps) };
}

function systemHandlers(deps: HandlerDeps) {
  const { node } = deps;
  const { store } = node;
  const { list, add, update, replace, remove } = collectionHandlers(
    deps,
    { list: routes.systemList, add: routes.systemAdd, update: routes.systemUpdate, replace: routes.systemReplace, remove: routes.systemRemove },
    {
      kind: 'sys',
      view: systemOf,
      filter: async (query) => (system) =>
        among(query.zone_id, ...system.zones) &&
        among(query.module_id, ...system.modules) &&
        among(query.email, system.email) &&
        among(query.edge_id, system.edge_control_id) &&
        equals(query.bookable, system.bookable) &&
        system.capacity >= (query.capacity ?? 0),
    },
  );
  const zonesOf = async (ids: readonly string[]) => (await present(store, 'zone', ids)).map(zoneOf);
  const modulesOf = async (ids: readonly string[]) => await Promise.all((await present(store, 'mod', ids)).map((stored) => moduleViewOf(node, stored)));
  return {
    systemList: list,
    systemShow: answer(routes.systemShow, async ({ params, query }) => {
      const stored = await findDocument(store, 'sys', params.id);
      const { zones, modules } = stored.document;
      const body = { ...systemOf(stored), module_names: await moduleNames(store, stored.document) };
      const more = query.complete === true ? { module_data: await modulesOf(modules), zone_data: await zonesOf(zones) } : {};
      return { body: { ...body, ...more }, headers: { etag: `"${stored.version}"` } };
    }),
    systemAdd: add,
    systemUpdate: update,
    systemReplace: replace,
    systemRemove: remove,
    systemZones: answer(routes.systemZones, async ({ params }) => ({ body: await zonesOf((await findDocument(store, 'sys', params.id)).document.zones) })),
  };
}

function moduleDocumentHandlers(deps: HandlerDeps) {
  const { node } = deps;
  const { store } = node;
  const view = (stored: Stored<DocumentOf<'mod'>>) => moduleViewOf(node, stored);
  const { list, add, update, replace, remove } = collectionHandlers(
    deps,
    { list: routes.moduleList, add: routes.moduleAdd, update: routes.moduleUpdate, replace: routes.moduleReplace, remove: routes.moduleRemove },
    {
      kind: 'mod',
      view,
      filter: async (query) => {
        const systems = await present(store, 'sys', query.control_system_id ?? []);
        const listed = new Set(systems.flatMap(({ document }) => document.modules));
        return (module) =>
          among(query.driver_id, module.driver_id) &&
          equals(query.running, module.running) &&
          (query.edge_id === undefined || among(query.edge_id, locationOfModule(node, module))) &&
          (query.connected === undefined || query.connected === isConnected(node, module)) &&
          (query.control_system_id === undefined || listed.has(module.id));
      },
    },
  );
  return {
    moduleList: list,
    moduleShow: answer(routes.moduleShow, async ({ params }) => shown(await findDocument(store, 'mod', params.id), view)),
    moduleAdd: add,
    moduleUpdate: update,
    moduleReplace: replace,
    moduleRemove: remove,
  };
}

function driverHandlers(deps: HandlerDeps) {
  const { list, add, update, replace, remove } = collectionHandlers(
    deps,
    { list: routes.driverList, add: routes.driverAdd, update: routes.driverUpdate, replace: routes.driverReplace, remove: routes.driverRemove },
    { kind: 'driver', view: driverOf, filter: async (query) => (driver) => among(query.role, driver.role, String(roleNumber(driver.role))) },
  );
  return {
    driverList: list,
    driverShow: answer(routes.driverShow, async ({ params }) => shown(await findDocument(deps.node.store, 'driver', params.id), driverOf)),
    driverAdd: add,
    driverUpdate: update,
    driverReplace: replace,
    driverRemove: remove,
  };
}

function zoneHandlers(deps: HandlerDeps) {
  const { list, add, update, replace, remove } = collectionHandlers(
    deps,
    { list: routes.zoneList, add: routes.zoneAdd, update: routes.zoneUpdate, replace: routes.zoneReplace, remove: routes.zoneRemove },
    { kind: 'zone', view: zoneOf, filter: async (query) => (zone) => among(query.tags, ...zone.tags) && among(query.parent_id, zone.parent_id) },
  );
  return {
    zoneList: list,
    zoneShow: answer(routes.zoneShow, async ({ params }) => shown(await findDocument(deps.node.store, 'zone', params.id), zoneOf)),
    zoneAdd: add,
    zoneUpdate: update,
    zoneReplace: replace,
    zoneRemove: remove,
  };
}

const moduleViewOf = async (node: HoldfastNode, stored: Stored<DocumentOf<'mod'>>) => moduleOf(stored, await moduleFacts(node, stored.document));

export async function shown<S extends Stored, V>(stored: S, view: (stored: S) => V | Promise<V>) {
  return { body: await view(stored), headers: { etag: `"${stored.version}"` } };
}
