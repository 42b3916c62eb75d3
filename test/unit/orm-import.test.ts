import { describe, expect, it } from 'vitest';
import { importOrm, type ForeignDocument } from '../../src/shared/runtime/site-files/orm-import.ts';
import { parseSiteFile, siteText } from '../../src/shared/runtime/site-files/site-file.ts';

/** Documents with the fields of the published models of ACA Engine. */
const source: Record<string, unknown> = {
  'edge-a~1': {
    type: 'edge', name: 'Berlin', host_origin: 'https://edge.example.org', description: 'A site', password: 'hunter2', failover: true, timeout: 20_000,
    window_start: '0 4 * * *', window_length: 3_600, online: true, failover_active: false, failover_time: 0, startup_time: 1_500_000_000, server_port: 17_400,
    settings: {}, admins: ['user-1'], created_at: 1_500_000_000,
  },
  'sys-1': {
    type: 'sys', edge_id: 'edge-a~1', name: 'Boardroom', description: null, email: 'board@example.org', capacity: 8, features: 'Display Camera  Display', bookable: true,
    installed_ui_devices: 1, zones: ['zone-1'], modules: ['mod-1', 'mod-2'], settings: { on: true }, created_at: 1_500_000_000, support_url: null,
  },
  'sysname-boardroom': 'sys-1',
  'mod-1': {
    type: 'mod', dependency_id: 'dep-1', control_system_id: null, edge_id: 'edge-a~1', ip: '10.0.0.7', tls: false, udp: false, port: 4352, makebreak: true, uri: null,
    custom_name: null, settings: {}, role: 1, connected: true, running: true, notes: 'left wall', ignore_connected: false, updated_at: 1, created_at: 1,
  },
  'mod-2': { type: 'mod', dependency_id: 'dep-2', control_system_id: 'sys-1', edge_id: 'edge-a~1', custom_name: 'Meeting Logic', settings: {}, role: 3, running: false },
  'dep-1': { type: 'dep', name: 'PJLink', role: 'device', description: 'Projectors', default: 4352, class_name: 'Nec::Projector', module_name: 'Display', settings: { x: 1 } },
  'dep-2': { type: 'dep', name: 'Logic', role: 'logic', class_name: 'Aca::MeetingRoom', module_name: 'Meeting', settings: {} },
  'zone-1': { type: 'zone', name: 'Level 1', description: '', tags: 'level, public', settings: {}, triggers: ['trigger-1'] },
  'trigger-1': {
    type: 'trigger', name: 'Too warm', description: '', debounce_period: 30,
    conditions: [[{ mod: 'Display', index: 1, status: 'temperature' }, 'greater_than', { const: 60 }], ['cron', '0 7 * * *'], ['strange']],
    actions: [{ type: 'exec', mod: 'Display', index: 1, func: 'power', args: [false] }, { type: 'email', emails: 'a@example.org', content: 'hot' }],
  },
  'trig-1': { type: 'trig', control_system_id: 'sys-1', trigger_id: 'trigger-1', enabled: true },
  'trig-2': { type: 'trig', control_system_id: 'sys-1', trigger_id: 'trigger-2', enabled: false },
  'user-1': { type: 'user', name: 'Somebody' },
  'mod-bad': { type: 'mod', dependency_id: 'dep-1', port: 'many' },
};
const sources: ForeignDocument[] = Object.entries(source).map(([id, content]) => ({ id, content }));
const { documents, report, skipped } = importOrm(sources);
const found = (id: string): unknown => documents.find((document) => document.id === id);
const changesOf = (id: string): Record<string, unknown> => Object.fromEntries(report.find((one) => one.id === id)?.changes.map(({ field, to }) => [field, to]) ?? []);

describe("documents of ACA Engine's couchbase-orm", () => {
  it('become documents of ours', () => {
    expect(found('edge-a.1')).toMatchObject({ type: 'edge', name: 'Berlin', failover: true, timeout: 20, window_start: '0 4 * * *', window_length: 3_600, admins: ['user-1'] });
    expect(found('sys-1')).toMatchObject({
      edge_control_id: 'edge-a.1', capacity: 8, bookable: true, features: ['Display', 'Camera'], modules: ['mod-1', 'mod-2'], zones: ['zone-1'], triggers: ['trigger-1'], settings: { on: true },
    });
    expect(found('mod-1')).toMatchObject({ driver_id: 'dep-1', name: 'Display', edge_control_id: 'edge-a.1', ip: '10.0.0.7', port: 4_352, makebreak: true, running: true, notes: 'left wall' });
    expect(found('mod-2')).toMatchObject({ driver_id: 'dep-2', name: 'MeetingLogic', running: false });
    expect(found('dep-1')).toMatchObject({ type: 'driver', name: 'PJLink', builtin: 'nec-projector', role: 'device', default_port: 4_352, settings: { x: 1 } });
    expect(found('zone-1')).toMatchObject({ tags: ['level', 'public'] });
    expect(found('trigger-1')).toMatchObject({
      debounce_period: 30_000,
      conditions: {
        comparisons: [{ left: { mod: 'Display_1', status: 'temperature' }, operator: 'greater_than', right: 60 }],
        time_dependents: [{ type: 'cron', cron: '0 7 * * *' }],
      },
      actions: { functions: [{ mod: 'Display_1', method: 'power', args: [false] }] },
    });
  });

  it('are reported field by field, with what is left out, and no password', () => {
    expect(changesOf('edge-a~1')).toMatchObject({ id: 'edge-a.1', timeout: 20, password: null, host_origin: null, server_port: null });
    expect(changesOf('sys-1')).toMatchObject({ features: ['Display', 'Camera'], edge_id: 'edge-a.1', installed_ui_devices: null, triggers: ['trigger-1'] });
    expect(changesOf('mod-1')).toEqual({ connected: null, role: null, ignore_connected: null, name: 'Display', dependency_id: 'dep-1', edge_id: 'edge-a.1' });
    expect(changesOf('trigger-1')).toMatchObject({ actions: { functions: [expect.anything()] } });
    expect(report.find(({ id }) => id === 'trigger-1')?.changes.filter(({ to }) => to === null)).toHaveLength(2);
    expect(JSON.stringify(report)).not.toContain('hunter2');
  });

  it('lose no field in silence: each is kept, or in the report', () => {
    const silent = new Set(['type', 'created_at', 'updated_at']);
    for (const { id, changes } of report) {
      const [before, after] = [source[id] as Record<string, unknown>, found(id.replaceAll('~', '.')) as Record<string, unknown>];
      for (const [field, value] of Object.entries(before)) {
        const isEmpty = value === null || value === '' || (typeof value === 'object' && Object.keys(value).length === 0);
        const kept = JSON.stringify(after[field]) === JSON.stringify(value);
        const told = changes.some((change) => change.field === field);
        expect(silent.has(field) || isEmpty || kept || told, `${id}.${field}`).toBe(true);
      }
    }
  });

  it('that have no place, entries of unique indexes and bad ones are named', () => {
    expect(Object.fromEntries(skipped.map(({ id, why }) => [id, why]))).toEqual({
      'sysname-boardroom': 'an entry of a unique index: ids are found without',
      'trig-1': 'its trigger is listed by its system',
      'trig-2': 'its trigger is listed by its system',
      'user-1': 'documents of the type user have no place here',
      'mod-bad': expect.stringMatching(/^port: /),
    });
  });

  it('make a site file that apply reads', async () => {
    const { entries, problems } = await parseSiteFile(siteText(documents, ['# imported', '']));
    expect(problems).toEqual([]);
    expect(entries.map(({ document }) => document).toSorted((a, b) => (a.id < b.id ? -1 : 1))).toEqual(documents.toSorted((a, b) => (a.id < b.id ? -1 : 1)));
  });
});
