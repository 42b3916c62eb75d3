import { driverSchema, zoneSchema } from '../../src/shared/model/documents.ts';
import { triggerSchema } from '../../src/shared/model/trigger.ts';
import type { FakeNode } from './fake-node.ts';
import { edgeDocument, moduleDocument, systemDocument } from './sample-documents.ts';

export const WEBHOOK_SECRET = 'a-secret-of-its-own';

/** A small site at `edge-1`, which lists `admin`; for each kind also one that nothing refers to. */
export async function addSite(node: FakeNode, admin: string): Promise<void> {
  const credential = { secret_hash: '0'.repeat(64), role: 'viewer' as const, created_at: 0, revoked: false };
  const documents = [
    edgeDocument('edge-1', { admins: [admin] }),
    edgeDocument('edge-2'),
    zoneSchema.parse({ id: 'zone-1', type: 'zone', name: 'Floor 1', tags: ['level'], metadata: { colour: { details: 'red' } } }),
    zoneSchema.parse({ id: 'zone-2', type: 'zone', name: 'West wing', parent_id: 'zone-1', settings: { volume: 3 } }),
    zoneSchema.parse({ id: 'zone-spare', type: 'zone', name: 'Attic' }),
    driverSchema.parse({ id: 'driver-mock', type: 'driver', name: 'Mock', builtin: 'mock' }),
    driverSchema.parse({ id: 'driver-logic', type: 'driver', name: 'Logic', builtin: 'mock', role: 'logic' }),
    driverSchema.parse({ id: 'driver-spare', type: 'driver', name: 'Spare', builtin: 'mock' }),
    moduleDocument('mod-1', { edge_control_id: 'edge-1', settings: { password: 'hunter2' }, ip: '192.0.2.7' }),
    moduleDocument('mod-2', { edge_control_id: 'edge-1', ignore_startstop: true }),
    moduleDocument('mod-logic', { edge_control_id: 'edge-1', name: 'Room', driver_id: 'driver-logic' }),
    moduleDocument('mod-spare', { edge_control_id: 'edge-2', name: 'Lamp' }),
    systemDocument('sys-1', {
      name: 'Boardroom',
      email: 'boardroom@example.org',
      capacity: 12,
      edge_control_id: 'edge-1',
      zones: ['zone-1', 'zone-2'],
      modules: ['mod-1', 'mod-2', 'mod-logic'],
      triggers: ['trig-1'],
      metadata: { colour: { description: 'of the walls', details: { wall: 'red' } } },
    }),
    triggerSchema.parse({ id: 'trig-1', type: 'trigger', name: 'Night', enable_webhook: true, webhook_secret: WEBHOOK_SECRET }),
    triggerSchema.parse({ id: 'trig-spare', type: 'trigger', name: 'Spare' }),
    { ...credential, id: 'key-spare', type: 'api_key' as const, name: 'spare' },
    { ...credential, id: 'token-spare', type: 'token' as const, user: 'bob', expires_at: 9_999_999_999, issued_by: 'key-1' },
  ];
  await node.store.apply(documents.map((document) => ({ op: 'put', document, expect: null })));
  for (const document of documents) if (document.type === 'mod') node.located.set(document.id, document.edge_control_id ?? 'master');
}
