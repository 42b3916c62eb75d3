import { z } from 'zod';
import * as document from './document-schemas.ts';
import { API, documents, list, read } from './route.ts';
import type { Route } from './route.ts';
import * as schema from './schemas.ts';

/** The six routes of a kind of document. */
export function collection<V extends z.ZodType, D extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, U extends z.ZodType>(
  name: string,
  what: string,
  shapes: { view: V; detail: D; query: Q; body: B; changes: U },
) {
  const path = `${API}/${name}`;
  const one = { params: schema.byId, path: `${path}/:id` } as const;
  const update = { ...documents, ...one, query: document.versionQuery, body: shapes.changes, response: shapes.view } as const;
  return {
    list: { ...list, path, query: shapes.query, response: z.array(shapes.view), description: `The ${name}; \`q\` searches id, name and description.` },
    show: { ...read, ...one, response: shapes.detail, description: `One ${what}.` },
    add: { ...documents, path, status: 201, body: shapes.body, response: shapes.view, description: `A new ${what}; without \`id\` it gets one.` },
    update: {
      ...update,
      method: 'PATCH',
      description: `Changes a ${what}; fields that are left out stay. With \`version\` or If-Match, 409 when it has changed since.`,
    },
    replace: { ...update, method: 'PUT', description: 'The same as PATCH, for published clients.' },
    remove: {
      ...documents,
      ...one,
      method: 'DELETE',
      status: 202,
      query: document.versionQuery,
      response: document.removedSchema,
      description: `Removes a ${what} that nothing refers to.`,
    },
  } as const;
}

const systems = collection('systems', 'system', {
  view: document.systemView,
  detail: document.systemDetail,
  query: document.systemQuery,
  body: document.newSystem,
  changes: document.changedSystem,
});
const modules = collection('modules', 'module', {
  view: document.moduleView,
  detail: document.moduleView,
  query: document.moduleQuery,
  body: document.newModule,
  changes: document.changedModule,
});
const drivers = collection('drivers', 'driver', {
  view: document.driverView,
  detail: document.driverView,
  query: document.driverQuery,
  body: document.newDriver,
  changes: document.changedDriver,
});
const zones = collection('zones', 'zone', {
  view: document.zoneView,
  detail: document.zoneView,
  query: document.zoneQuery,
  body: document.newZone,
  changes: document.changedZone,
});

const settings = { ...read, role: 'admin', params: schema.byId } as const;
const settingsUpdate = {
  ...documents,
  params: schema.byId,
  query: document.versionQuery,
  body: document.settingsBody,
  response: document.settingsView,
  path: `${API}/settings/:id`,
} as const;
const metadata = { ...read, params: schema.byId, query: document.metadataQuery, response: document.metadataSchema } as const;

/** Documents, one by one. */
export const documentRoutes = {
  systemList: systems.list,
  systemShow: { ...systems.show, query: document.completeQuery, description: 'One system; `complete=true` adds its modules and zones.' },
  systemAdd: systems.add,
  systemUpdate: systems.update,
  systemReplace: systems.replace,
  systemRemove: systems.remove,
  moduleList: modules.list,
  moduleShow: modules.show,
  moduleAdd: modules.add,
  moduleUpdate: modules.update,
  moduleReplace: modules.replace,
  moduleRemove: modules.remove,
  driverList: drivers.list,
  driverShow: drivers.show,
  driverAdd: drivers.add,
  driverUpdate: drivers.update,
  driverReplace: drivers.replace,
  driverRemove: drivers.remove,
  zoneList: zones.list,
  zoneShow: zones.show,
  zoneAdd: zones.add,
  zoneUpdate: zones.update,
  zoneReplace: zones.replace,
  zoneRemove: zones.remove,

  systemZones: {
    ...read,
    path: `${API}/systems/:id/zones`,
    params: schema.byId,
    response: z.array(document.zoneView),
    description: 'The zones of a system, in its order.',
  },
  systemSettings: {
    ...settings,
    path: `${API}/systems/:id/settings`,
    response: z.array(document.settingsView),
    description: 'Settings of a system, then those of its zones.',
  },
  moduleSettings: {
    ...settings,
    path: `${API}/modules/:id/settings`,
    response: z.array(document.settingsView),
    description: 'Settings of a module, then those of its driver.',
  },
  settingsList: {
    ...list,
    role: 'admin',
    path: `${API}/settings`,
    query: document.settingsQuery,
    response: z.array(document.settingsView),
    description: 'Settings of all documents, or of those in `parent_id`; they may hold passwords of devices.',
  },
  settingsShow: { ...settings, path: `${API}/settings/:id`, response: document.settingsView, description: 'Settings of one document, under its id.' },
  settingsUpdate: {
    ...settingsUpdate,
    method: 'PATCH',
    description: 'Replaces the settings of one document; `settings_string` is JSON, `{"$secret": …}` in it is sealed.',
  },
  settingsReplace: { ...settingsUpdate, method: 'PUT', description: 'The same as PATCH, for published clients.' },

  systemMetadata: { ...metadata, path: `${API}/systems/:id/metadata`, description: 'Metadata of a system, by name.' },
  metadataShow: { ...metadata, path: `${API}/metadata/:id`, description: 'Metadata of a system or zone, by name.' },
  metadataChildren: {
    ...metadata,
    list: true,
    path: `${API}/metadata/:id/children`,
    response: document.childMetadataSchema,
    description: 'The zones of which this one is the parent, each with its metadata.',
  },
  metadataPut: {
    ...documents,
    method: 'PUT',
    path: `${API}/metadata/:id`,
    params: schema.byId,
    query: document.versionQuery,
    body: document.metadataBody,
    response: document.metadataView,
    description: 'Writes one piece of metadata of a system or zone.',
  },
  metadataRemove: {
    ...documents,
    method: 'DELETE',
    path: `${API}/metadata/:id`,
    status: 202,
    params: schema.byId,
    query: document.metadataRemoveQuery,
    response: document.removedSchema,
    description: 'Removes one piece of metadata.',
  },
} as const satisfies Record<string, Route>;
