import { describe, expect, it } from 'vitest';
import { companionsOf, disclose, discloseAll, type Disclosed } from '../../src/shared/model/disclosure.ts';
import {
  type AnyDocument,
  apiKeySchema,
  driverSchema,
  type ModuleDocument,
  type SystemDocument,
  zoneSchema,
} from '../../src/shared/model/documents.ts';
import { triggerSchema } from '../../src/shared/model/trigger.ts';
import { edgeDocument, moduleDocument, systemDocument } from '../support/sample-documents.ts';

const settings = { password: 'of a device' };
const address = { ip: '192.0.2.1', port: 23, uri: 'https://user:password@192.0.2.1/' };
const berlin = { edge_control_id: 'berlin' };
const driver = (id: string): AnyDocument => driverSchema.parse({ id, type: 'driver', name: id, builtin: 'mock', settings });
const zone = (id: string): AnyDocument => zoneSchema.parse({ id, type: 'zone', name: id, settings });

function world(systems: SystemDocument[], modules: ModuleDocument[], others: AnyDocument[] = []) {
  const all: AnyDocument[] = [...systems, ...modules, ...others];
  const to = (location: string): Disclosed => discloseAll(systems, modules).get(location) ?? new Set();
  return {
    /** Ids of what keeps its settings. */
    whole: (location: string) => all.filter((document) => disclose(document, to(location)) === document).map(({ id }) => id),
    companions: (document: AnyDocument, location: string) =>
      companionsOf(document, to(location), (kind, id) => all.find((other) => other.type === kind && other.id === id) ?? null).map(({ id }) => id),
  };
}

describe('what an edge may know', () => {
  it('is settings and addresses of its own systems and modules, not of those of others or of the master', () => {
    const modules = [
      moduleDocument('mod-own', { ...berlin, ...address, settings }),
      moduleDocument('mod-other', { edge_control_id: 'lisbon', ...address, settings }),
      moduleDocument('mod-master', { ...address, settings }),
    ];
    const systems = [systemDocument('sys-own', { ...berlin, settings }), systemDocument('sys-other', { edge_control_id: 'lisbon', settings })];
    const { whole } = world([...systems, systemDocument('sys-master', { settings })], modules);
    expect(whole('berlin')).toEqual(['sys-own', 'mod-own']);
    expect(whole('atlantis')).toEqual([]);
  });

  it('leaves of a foreign module what names and commands need', () => {
    const module = moduleDocument('mod-1', { name: 'Projector', edge_control_id: 'lisbon', ...address, settings, notes: 'left of the door' });
    expect(disclose(module, new Set())).toEqual({ ...module, ip: '', port: 0, uri: '', settings: {} });
    const system = systemDocument('sys-1', { modules: ['mod-1'], zones: ['zone-1'], settings });
    expect(disclose(system, new Set())).toEqual({ ...system, settings: {} });
  });

  it.each([
    ['an address', { ip: '192.0.2.1' }],
    ['a port', { port: 23 }],
    ['a URI', { uri: 'tcp://192.0.2.1' }],
    ['settings', { settings }],
  ])('withholds %s alone, too', (_, fields) => {
    expect(disclose(moduleDocument('mod-1', fields), new Set())).toEqual(moduleDocument('mod-1'));
  });

  it('counts a module without a location to every location with a system that lists it', () => {
    const systems = [systemDocument('sys-1', { ...berlin, modules: ['mod-1', 'mod-2'] }), systemDocument('sys-2', { modules: ['mod-3'] })];
    const modules = [
      moduleDocument('mod-1', { settings }),
      moduleDocument('mod-2', { edge_control_id: 'lisbon', settings }),
      moduleDocument('mod-3', { settings }),
    ];
    expect(world(systems, modules).whole('berlin')).toEqual(['sys-1', 'sys-2', 'mod-1']);
    expect(world(systems, modules).whole('lisbon')).toEqual(['sys-1', 'sys-2', 'mod-2']);
  });

  it('is the settings of drivers of its modules and of zones of its systems', () => {
    const systems = [systemDocument('sys-1', { ...berlin, zones: ['zone-1'] }), systemDocument('sys-2', { zones: ['zone-2'] })];
    const modules = [moduleDocument('mod-1', { ...berlin, driver_id: 'driver-1' }), moduleDocument('mod-2', { driver_id: 'driver-2' })];
    const { whole } = world(systems, modules, ['driver-1', 'driver-2'].map(driver).concat(['zone-1', 'zone-2'].map(zone)));
    expect(whole('berlin').filter((id) => /^(driver|zone)/.test(id))).toEqual(['driver-1', 'zone-1']);
  });

  it('cannot be widened by naming the id of something else as a zone or as a driver', () => {
    const systems = [systemDocument('sys-1', { ...berlin, zones: ['mod-other', 'driver-1', 'sys-2'] }), systemDocument('sys-2', { settings })];
    const modules = [moduleDocument('mod-1', { ...berlin, driver_id: 'mod-other' }), moduleDocument('mod-other', { settings })];
    const { whole } = world(systems, modules, [driver('driver-1')]);
    expect(whole('berlin')).toEqual(['sys-1', 'mod-1']);
  });

  it('is secrets and actions of triggers of its systems; of others only that they are there', () => {
    const actions = { functions: [{ mod: 'Display', method: 'on' }], webhooks: [{ url: 'https://example.org/secret' }] };
    const trigger = (id: string) => triggerSchema.parse({ id, type: 'trigger', name: id, enable_webhook: true, webhook_secret: 'a-secret-of-its-own', actions });
    const systems = [systemDocument('sys-1', { ...berlin, triggers: ['trig-1'] }), systemDocument('sys-2', { triggers: ['trig-2'] })];
    const { whole, companions } = world(systems, [], [trigger('trig-1'), trigger('trig-2')]);
    expect(whole('berlin').filter((id) => id.startsWith('trig'))).toEqual(['trig-1']);
    expect(companions(systems.at(0)!, 'berlin')).toEqual(['trig-1']);
    expect(disclose(trigger('trig-2'), new Set())).toEqual({ ...trigger('trig-2'), webhook_secret: '', actions: { functions: [], webhooks: [] } });
  });

  it('is every location and every API key, as a hash', () => {
    const key = apiKeySchema.parse({ id: 'key-1', type: 'api_key', name: 'k', secret_hash: 'a'.repeat(64), role: 'admin', created_at: 1 });
    expect([edgeDocument('lisbon'), key].map((document) => disclose(document, new Set()))).toEqual([edgeDocument('lisbon'), key]);
  });
});

describe('what has to travel with a document', () => {
  const systems = [systemDocument('sys-1', { ...berlin, zones: ['zone-1', 'zone-gone'], modules: ['mod-1', 'mod-2', 'mod-gone'] })];
  const modules = [moduleDocument('mod-1', { driver_id: 'driver-1' }), moduleDocument('mod-2', { ...berlin, driver_id: 'driver-2' })];
  const { companions } = world(systems, modules, [driver('driver-1'), driver('driver-2'), zone('zone-1')]);

  it('is the driver of an own module', () => {
    expect(companions(modules.at(1)!, 'berlin')).toEqual(['driver-2']);
  });

  it('is, with an own system, its zones, and the modules that are here because it lists them, with their drivers', () => {
    expect(companions(systems.at(0)!, 'berlin')).toEqual(['zone-1', 'mod-1', 'driver-1']);
  });

  it('is nothing for an edge that may not know the document', () => {
    expect([...companions(systems.at(0)!, 'lisbon'), ...companions(modules.at(1)!, 'lisbon')]).toEqual([]);
  });
});
