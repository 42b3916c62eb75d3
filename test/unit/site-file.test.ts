import { setImmediate as nextTurn } from 'node:timers/promises';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../src/shared/adapters/store-memory/memory-store.ts';
import type { AnyDocument } from '../../src/shared/model/documents.ts';
import { documentSchemas } from '../../src/shared/model/documents.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import type { DocumentStore } from '../../src/shared/ports/document-store.ts';
import { exportSite } from '../../src/shared/runtime/site-files/site-file.ts';
import { Directory } from '../../src/shared/runtime/documents/directory.ts';
import { createSiteFiles, planApply, problemLine, runApply } from '../../src/shared/runtime/site-files/site-plan.ts';

const site = `edges:
  - id: edge-lab
    name: Laboratory
    window_start: "0 3 * * *"
    timezone: Europe/Berlin
systems:
  - id: sys-1
    name: Room 1
    edge_control_id: edge-lab
    zones: [zone-1]
    modules: [mod-display, mod-mixer]
modules:
  - id: mod-display
    driver_id: drv-1
    name: Display
    ip: 10.0.0.7
    port: 4352
    settings: {volume: 5, password: hunter2}
  - id: mod-mixer
    driver_id: drv-1
    name: Mixer
drivers:
  - id: drv-1
    name: Mock
    builtin: mock
zones:
  - id: zone-1
    name: Ground floor
`;

async function storeWith(...documents: unknown[]): Promise<DocumentStore> {
  const store = createMemoryStore();
  await store.apply(documents.map((document) => ({ op: 'put', document: parsed(document), expect: null })));
  return store;
}

function parsed(document: unknown): AnyDocument {
  const kind = (document as { type: keyof typeof documentSchemas }).type;
  return documentSchemas[kind].parse(document);
}

async function applied(text: string, store: DocumentStore): Promise<DocumentStore> {
  await runApply(await planApply(text, store), store);
  return store;
}

/** Problems as an operator reads them. */
async function problems(text: string, store: DocumentStore = createMemoryStore()): Promise<string[]> {
  const plan = await planApply(text, store);
  if (plan.errors.length > 0) expect(plan.writes).toEqual([]);
  return plan.errors.map(problemLine);
}

const replaced = (from: string, to: string): string => {
  expect(site).toContain(from);
  return site.replace(from, to);
};

describe('applying a site file', () => {
  it('creates what is not there, with defaults, and fills in the location of modules', async () => {
    const store = await applied(site, createMemoryStore());
    expect((await store.get('mod-display'))?.document).toEqual(
      parsed({ id: 'mod-display', type: 'mod', driver_id: 'drv-1', name: 'Display', edge_control_id: 'edge-lab', ip: '10.0.0.7', port: 4352, settings: { volume: 5, password: 'hunter2' } }),
    );
    expect((await store.modulesOf('edge-lab')).map(({ id }) => id)).toEqual(['mod-display', 'mod-mixer']);
    expect((await store.systemsOf('edge-lab')).map(({ id }) => id)).toEqual(['sys-1']);
  });

  it('changes nothing while it plans', async () => {
    const store = createMemoryStore();
    const plan = await planApply(site, store);
    expect(plan.changes.map(({ op, kind, id }) => `${op} ${kind} ${id}`)).toEqual([
      'create edge edge-lab',
      'create sys sys-1',
      'create mod mod-display',
      'create mod mod-mixer',
      'create driver drv-1',
      'create zone zone-1',
    ]);
    expect((await store.head()).sequence).toBe(0);
  });

  it('finds nothing to do the second time', async () => {
    const store = await applied(site, createMemoryStore());
    const before = await store.head();
    const plan = await planApply(site, store);
    expect(plan).toMatchObject({ changes: [], unchanged: 6, writes: [], errors: [] });
    await runApply(plan, store);
    expect(await store.head()).toEqual(before);
  });

  it('says what differs, field by field, and shows no secret', async () => {
    const store = await applied(site, createMemoryStore());
    const changed = replaced('10.0.0.7', '10.0.0.8')
      .replace('volume: 5, password: hunter2', 'volume: 7, password: hunter3, source: "tcp://me:hunter4@10.0.0.1/"')
      .replace('[mod-display, mod-mixer]', '[mod-mixer, mod-display]')
      .replace('zones: [zone-1]', 'zones: []');
    const plan = await planApply(changed, store);
    expect(plan.changes).toEqual([
      { op: 'update', kind: 'sys', id: 'sys-1', details: ['zones: - "zone-1"', 'modules: order changed to ["mod-mixer","mod-display"]'] },
      {
        op: 'update',
        kind: 'mod',
        id: 'mod-display',
        details: ['ip: "10.0.0.7" → "10.0.0.8"', 'settings.volume: 5 → 7', 'settings.password: (changed, not shown)', 'settings.source: "tcp://…@10.0.0.1/"'],
      },
    ]);
    expect(plan.unchanged).toBe(4);
    expect(JSON.stringify([plan.changes, plan.warnings])).not.toContain('hunter');
  });

  it('hides a secret that lies deeper in the settings', async () => {
    const plan = await planApply(replaced('{volume: 5, password: hunter2}', '{login: {user: me, password: hunter2}}'), createMemoryStore());
    expect(plan.changes.find(({ id }) => id === 'mod-display')?.details).toContain('settings.login: (set, not shown)');
  });

  it('gives a field that is left out its default again', async () => {
    const store = await applied(site, createMemoryStore());
    await applied(replaced('    port: 4352\n', ''), store);
    expect((await store.get('mod-display'))?.document).toMatchObject({ port: 0 });
  });

  it('leaves documents alone that the file does not have', async () => {
    const store = await applied(site, createMemoryStore());
    await applied('zones: [{id: zone-2, name: Second floor}]', store);
    expect((await store.get('zone-1'))?.document).toMatchObject({ name: 'Ground floor' });
  });

  it('stores all or nothing when the store has moved on since the plan', async () => {
    const store = await applied(site, createMemoryStore());
    const plan = await planApply(replaced('Room 1', 'Room one').replace('Ground floor', 'Basement'), store);
    await applied(replaced('Ground floor', 'Attic'), store);
    await expect(runApply(plan, store)).rejects.toMatchObject({ code: 'VERSION_CONFLICT' });
    expect((await store.get('sys-1'))?.document).toMatchObject({ name: 'Room 1' });
  });

  it('refers to documents of the store as well as to those of the file', async () => {
    const store = await applied(site, createMemoryStore());
    expect(await problems('modules: [{id: mod-new, driver_id: drv-1, name: New, edge_control_id: edge-lab}]', store)).toEqual([]);
  });

  it('reads the older spelling of the location', async () => {
    const store = await applied(replaced('edge_control_id: edge-lab', 'edge_id: edge-lab'), createMemoryStore());
    expect((await store.get('sys-1'))?.document).toMatchObject({ edge_control_id: 'edge-lab' });
  });

  it('reads aliases, and places problems within them where they are written', async () => {
    const shared = replaced('{volume: 5, password: hunter2}', '&settings {volume: 5}').replace('name: Mixer', 'name: Mixer\n    settings: *settings');
    const store = await applied(shared, createMemoryStore());
    expect((await store.get('mod-mixer'))?.document).toMatchObject({ settings: { volume: 5 } });
    const twice = replaced('[mod-display, mod-mixer]', '&list [mod-display, Mod/mixer]\n  - {id: sys-2, name: Room 2, modules: *list}');
    expect((await problems(twice)).map((line) => line.slice(0, 29))).toEqual(['11:34 systems[0].modules[1]: ', '11:34 systems[1].modules[1]: ']);
  });

  it.each(['', '# nothing yet\n', '{}', 'edges:\nsystems: []\n'])('takes "%s" for no documents at all', async (text) => {
    expect(await planApply(text, createMemoryStore())).toMatchObject({ changes: [], unchanged: 0, errors: [] });
  });
});

describe('where a module belongs', () => {
  const twoSites = replaced('systems:', '  - id: edge-hall\n    name: Hall\nsystems:');

  it('is refused when systems of two locations list it', async () => {
    const text = twoSites.replace('modules:\n  -', '  - {id: sys-2, name: Room 2, edge_control_id: edge-hall, modules: [mod-mixer]}\nmodules:\n  -');
    expect(await problems(text)).toEqual([
      '22:5 modules[1].edge_control_id: module "mod-mixer" is listed by sys-1 of edge-lab and by sys-2 of edge-hall; a module has one location',
    ]);
  });

  it('stays what it is when systems of the master list it too, or alone', async () => {
    const store = await applied(site, createMemoryStore());
    await applied('systems: [{id: sys-2, name: Campus, modules: [mod-mixer]}]', store);
    expect((await store.modulesOf('edge-lab')).map(({ id }) => id)).toEqual(['mod-display', 'mod-mixer']);
    const alone = 'systems: [{id: sys-3, name: Campus, modules: [mod-lamp]}]\nmodules: [{id: mod-lamp, name: Lamp, driver_id: driver-mock, edge_control_id: edge-lab}]';
    await applied(alone.replace('driver-mock', site.match(/driver_id: (\S+)/)?.[1] ?? ''), store);
    expect((await store.modulesOf('edge-lab')).map(({ id }) => id)).toContain('mod-lamp');
  });

  it('is that of its system when it is a logic module', async () => {
    const driver = 'drivers: [{id: drv-logic, name: Room, builtin: mock, role: logic}]';
    const file = (location: string): string =>
      `${driver}\nsystems: [{id: sys-2, name: Campus, modules: [mod-room]}]\nmodules: [{id: mod-room, name: Room, driver_id: drv-logic${location}}]`;
    const store = await applied(site, createMemoryStore());
    expect(await problems(file(''), store)).toEqual([]);
    expect(await problems(file(', edge_control_id: edge-lab'), store)).toEqual([expect.stringContaining('module "mod-room" belongs to the master, for sys-2 lists it')]);
  });

  it('is refused when the module says another one', async () => {
    const text = twoSites.replace('name: Mixer', 'name: Mixer\n    edge_control_id: edge-hall');
    expect(await problems(text)).toEqual([
      '24:22 modules[1].edge_control_id: module "mod-mixer" belongs to edge-lab, for sys-1 lists it, but its edge_control_id says edge-hall; leave that out',
    ]);
  });

  it('is filled in for a stored module that a system of the file now lists', async () => {
    const store = await applied(replaced('[mod-display, mod-mixer]', '[mod-display]'), createMemoryStore());
    expect(await store.modulesOf(null)).toHaveLength(1);
    const system = '{id: sys-2, name: Room 2, edge_control_id: edge-lab, modules: [mod-mixer]}';
    const plan = await planApply(`systems: [${system}]`, store);
    expect(plan.changes.at(-1)).toEqual({ op: 'update', kind: 'mod', id: 'mod-mixer', details: ['edge_control_id: null → "edge-lab"'] });
    await runApply(plan, store);
    expect(await store.modulesOf(null)).toEqual([]);
  });

  it('moves with its system when both are in the file, and is asked for when it is not', async () => {
    const store = await applied(twoSites, createMemoryStore());
    const moved = twoSites.replace('edge_control_id: edge-lab', 'edge_control_id: edge-hall');
    expect(await problems(moved, store)).toEqual([]);
    const systemsOnly = moved.slice(moved.indexOf('systems:'), moved.indexOf('modules:\n  -'));
    expect(await problems(systemsOnly, store)).toEqual([
      '6:15 systems[0].modules[0]: module "mod-display" belongs to edge-hall, for sys-1 lists it, but its edge_control_id says edge-lab in the store; put the module into the file too',
      '6:28 systems[0].modules[1]: module "mod-mixer" belongs to edge-hall, for sys-1 lists it, but its edge_control_id says edge-lab in the store; put the module into the file too',
    ]);
  });

  it('is what it says itself when no system lists it', async () => {
    const store = await applied(replaced('[mod-display, mod-mixer]', '[]').replace('name: Mixer', 'name: Mixer\n    edge_control_id: edge-lab'), createMemoryStore());
    expect((await store.modulesOf('edge-lab')).map(({ id }) => id)).toEqual(['mod-mixer']);
    expect((await store.modulesOf(null)).map(({ id }) => id)).toEqual(['mod-display']);
  });
});

describe('triggers', () => {
  const night = `triggers:
  - id: trig-1
    name: Night
    conditions:
      time_dependents: [{type: cron, cron: "0 22 * * *", timezone: Europe/Berlin}]
    enable_webhook: true
    webhook_secret: a-secret-of-its-own
    actions:
      functions: [{mod: Display_1, method: power, args: [false]}]
      webhooks: [{url: https://example.org/PATH, headers: {authorization: Bearer HEADER}}]
`;
  const withTrigger = site.replace('zones: [zone-1]', 'zones: [zone-1]\n    triggers: [trig-1]') + night;

  it('are applied, exported and found unchanged', async () => {
    const store = await applied(withTrigger, createMemoryStore());
    expect((await planApply(await exportSite(store), store)).changes).toEqual([]);
  });

  it('are shown without what lets somebody in', async () => {
    const store = createMemoryStore();
    const plan = await planApply(withTrigger, store);
    const details = plan.changes.find(({ id }) => id === 'trig-1')?.details;
    expect(details?.join('\n')).toMatch(/webhook_secret: \(set, not shown\)[^]*actions\.webhooks: \(set, not shown\)/);
    await runApply(plan, store);
    const changed = withTrigger.replace('its-own', 'its-very-own').replace('PATH', 'PATH2');
    const [change] = (await planApply(changed, store)).changes;
    expect(change?.details).toEqual(['webhook_secret: (changed, not shown)', 'actions.webhooks: (changed, not shown)']);
  });

  it.each<[what: string, from: string, to: string, problem: RegExp]>([
    ['a webhook without its secret', '    webhook_secret: a-secret-of-its-own\n', '', /^31:5 triggers\[0\]\.webhook_secret: is missing/],
    ['a wrong cron', '0 22 * * *', '0 25 * * *', /triggers\[0\]\.conditions\.time_dependents\[0\]\.cron: "0 25 \* \* \*" has the hour/],
    ['an unknown time zone', 'timezone: Europe/Berlin}', 'timezone: Mars}', /time_dependents\[0\]\.timezone: "Mars"/],
    ['an address in the clear', 'https://example.org', 'http://example.org', /actions\.webhooks\[0\]\.url: must be https/],
    ['a trigger that is not there', 'triggers: [trig-1]', 'triggers: [trig-2]', /systems\[0\]\.triggers\[0\]: there is no trigger "trig-2"/],
  ])('with %s are refused with a reason, and nothing is changed', async (_, from, to, problem) => {
    expect(withTrigger).toContain(from);
    const store = createMemoryStore();
    const before = await store.head();
    const plan = await planApply(withTrigger.replace(from, to), store);
    expect(plan.errors.map(problemLine)).toEqual([expect.stringMatching(problem)]);
    await expect(runApply(plan, store)).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    expect(await store.head()).toEqual(before);
  });
});

describe('what apply refuses, with line, column and field', () => {
  it.each<[what: string, from: string, to: string, problem: string | RegExp]>([
    ['a missing field', '    name: Laboratory\n', '', '2:5 edges[0].name: is missing'],
    ['a wrong type', 'port: 4352', 'port: high', /^17:11 modules\[0\]\.port: Invalid input: expected number/],
    ['a value out of range', 'port: 4352', 'port: 70000', /^17:11 modules\[0\]\.port: Too big/],
    ['an unknown field', 'port: 4352', 'prot: 4352', '17:5 modules[0].prot: is unknown; did you mean port?'],
    ['an unknown section', 'zones:\n  - id', 'zone:\n  - id', '26:1 zone: is unknown; did you mean zones?'],
    ['another type than the section has', 'id: zone-1', 'id: zone-1\n    type: edge', /^28:11 zones\[0\]\.type: Invalid input/],
    ['a zone that is not there', '[zone-1]', '[zone-1, zone-2]', '10:21 systems[0].zones[1]: there is no zone "zone-2", neither in the file nor in the store'],
    ['a module that is not there', 'mod-mixer]', 'mod-mixr]', '11:28 systems[0].modules[1]: there is no mod "mod-mixr", neither in the file nor in the store'],
    ['a location that is not there', 'edge_control_id: edge-lab', 'edge_control_id: edge-x', '9:22 systems[0].edge_control_id: there is no edge "edge-x", neither in the file nor in the store'],
    ['a reference to another kind', '[zone-1]', '[drv-1]', '10:13 systems[0].zones[0]: "drv-1" is of the kind driver, not zone'],
    ['an id twice', 'name: Ground floor', 'name: Ground floor\n  - {id: drv-1, name: Again}', '29:10 zones[1].id: "drv-1" is taken by line 23; ids are unique over all kinds'],
    ['a reserved id', 'id: edge-lab', 'id: master', /^2:9 edges\[0\]\.id: "master" is taken/],
    ['a restore window that is no cron', '"0 3 * * *"', '"0 3 * *"', /^4:19 edges\[0\]\.window_start: "0 3 \* \*" has 4 of 5 fields/],
    ['an unknown time zone', 'Europe/Berlin', 'Europe/Berln', /^5:15 edges\[0\]\.timezone: "Europe\/Berln" is not a known time zone/],
    ['an unknown time zone without a window', 'window_start: "0 3 * * *"\n    timezone: Europe/Berlin', 'timezone: Mars', /^4:15 edges\[0\]\.timezone: "Mars" is not/],
    ['a list that is none', 'zones:\n  - id: zone-1\n    name: Ground floor\n', 'zones: zone-1\n', '26:8 zones: must be a list'],
    ['an entry that is no document', '  - id: zone-1\n    name: Ground floor', '  - zone-1', '27:5 zones[0]: must be a mapping with at least an id'],
    ['a key twice', 'name: Mock', 'name: Mock\n    name: Mack', '25:5 "name" is there twice in the same mapping'],
    ['a tag', 'name: Mock', 'name: !js Mock', '24:11 Unresolved tag: !js'],
    ['an alias of nothing', 'name: Mock', 'name: *mock', '24:11 Nothing before this is marked &mock'],
    ['a second YAML document', 'zones:\n', '---\nzones:\n', /^26:1 a second YAML document begins here/],
  ])('%s', async (_, from, to, problem) => {
    const found = await problems(replaced(from, to));
    expect(found[0]).toEqual(typeof problem === 'string' ? problem : expect.stringMatching(problem));
  });

  it('all problems at once, in the order of the file', async () => {
    const unreadable = replaced('window_start: "0 3 * * *"', 'window_start: never').replace('port: 4352', 'port: -1').replace('builtin: mock', 'bultin: mock');
    expect((await problems(unreadable)).map((line) => line.split(' ')[0])).toEqual(['4:19', '17:11', '23:5', '25:5']);
    const readable = replaced('window_start: "0 3 * * *"', 'window_start: never').replace('[zone-1]', '[zone-9]').replace('driver_id: drv-1', 'driver_id: drv-9');
    expect((await problems(readable)).map((line) => line.split(' ')[0])).toEqual(['4:19', '10:13', '14:16']);
  });

  it.each(['- a\n- b\n', 'just text', '42'])('a file that is no mapping: %j', async (text) => {
    expect(await problems(text)).toEqual(['1:1 must be a mapping with edges, systems, modules, drivers, zones, triggers']);
  });

  it('text that is no YAML, and text made to overwhelm', async () => {
    expect((await problems('edges: [{id: "a'))[0]).toMatch(/^1:\d+ Missing closing/);
    expect(await problems(`zones: ${'['.repeat(20_000)}`)).not.toEqual([]);
    expect(await problems(`zones: ${'['.repeat(3_000)}${']'.repeat(3_000)}`)).not.toEqual([]);
    expect(await problems(`zones: [{id: z, name: z, settings: {a: ${'['.repeat(3_000)}${']'.repeat(3_000)}}}]`)).toEqual([expect.stringMatching(/^1:\d+ is nested too deeply$/)]);
    expect(await problems(`a: &a x\nzones:${'\n  - *a'.repeat(101)}`)).toEqual(['103:5 Only 100 aliases may be used']);
    const laughs = ['a: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]'];
    for (let i = 1; i < 10; i += 1) laughs.push(`b${i}: &a${i} [${Array.from({ length: 9 }, () => `*a${i - 1}`).join(', ')}]`);
    expect((await problems(laughs.join('\n')))[0]).toMatch(/^1:1 Excessive alias count/);
  });

  it('an id that the store has for something else', async () => {
    const store = await storeWith({ id: 'zone-1', type: 'api_key', name: 'key', secret_hash: 'a'.repeat(64), role: 'admin', created_at: 0 });
    expect(await problems('zones: [{id: zone-1, name: Ground floor}]', store)).toEqual(['1:14 zones[0].id: "zone-1" is the id of a stored document of the kind api_key']);
  });

  it('a driver that does not come with the server, when told which do', async () => {
    const plan = await planApply(replaced('builtin: mock', 'builtin: mok'), createMemoryStore(), { builtins: ['mock', 'nut'] });
    expect(plan.errors.map(problemLine)).toEqual(['25:14 drivers[0].builtin: no driver "mok" comes with this server, nor lies in its HOLDFAST_DRIVERS; did you mean mock?']);
  });

  it('to run a plan with problems, naming them', async () => {
    const store = createMemoryStore();
    const plan = await planApply(replaced('port: 4352', 'port: -1').replace('    name: Laboratory\n', ''), store);
    const error = await runApply(plan, store).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(HoldfastError);
    expect(error).toMatchObject({ code: 'INPUT_INVALID' });
    expect(String(error)).toContain('\n  2:5 edges[0].name: is missing');
    expect((await store.head()).sequence).toBe(0);
  });
});

describe('what apply warns of', () => {
  it('an exclusive site goes dark when the master is down longer than the lease', async () => {
    const plan = await planApply(replaced('timezone: Europe/Berlin', 'policy: exclusive'), createMemoryStore());
    expect(plan.errors).toEqual([]);
    expect(plan.warnings.join()).toContain('edge-lab: policy exclusive: a master that is down longer than the lease (10 s) darkens the site');
  });

  it('exclusive means nothing without failover', async () => {
    const plan = await planApply(replaced('timezone: Europe/Berlin', 'policy: exclusive\n    failover: false'), createMemoryStore());
    expect(plan.warnings[0]).toBe('edge-lab: policy exclusive has no effect under failover: false, for the master never takes over');
  });

  it('an administrator of whom there is neither key nor token, for these do not travel in files', async () => {
    const credential = { secret_hash: 'a'.repeat(64), role: 'admin', created_at: 0 };
    const token = { id: 'token-1', type: 'token', user: 'olga', expires_at: 1, issued_by: 'key-1', ...credential };
    const store = await storeWith({ id: 'key-1', type: 'api_key', name: 'key', ...credential }, token);
    const plan = await planApply(replaced('timezone: Europe/Berlin', 'admins: [key-1, olga, token-1, eve]'), store);
    expect(plan.warnings.filter((warning) => warning.includes('admins'))).toEqual(['edge-lab: admins names "eve", and there is no API key of that id, nor a token of that user, yet']);
  });
});

describe('exporting', () => {
  it('writes what was said and no defaults', async () => {
    const store = await applied(site, createMemoryStore());
    expect(await exportSite(store)).toBe(`# Holdfast documents: change what you like and give the file to \`holdfast apply\`.
# API keys and tokens are not part of it.

edges:
  - id: edge-lab
    name: Laboratory
    window_start: 0 3 * * *
    timezone: Europe/Berlin

systems:
  - id: sys-1
    name: Room 1
    edge_control_id: edge-lab
    zones:
      - zone-1
    modules:
      - mod-display
      - mod-mixer

modules:
  - id: mod-display
    driver_id: drv-1
    name: Display
    edge_control_id: edge-lab
    ip: 10.0.0.7
    port: 4352
    settings:
      volume: 5
      password: hunter2
  - id: mod-mixer
    driver_id: drv-1
    name: Mixer
    edge_control_id: edge-lab

drivers:
  - id: drv-1
    name: Mock
    builtin: mock

zones:
  - id: zone-1
    name: Ground floor
`);
  });

  it('never writes API keys', async () => {
    const store = await storeWith({ id: 'key-1', type: 'api_key', name: 'panel', secret_hash: 'a'.repeat(64), role: 'admin', created_at: 0 });
    const text = await exportSite(store);
    expect(text).not.toContain('panel');
    expect(text).not.toContain('aaaa');
    expect(await problems(text)).toEqual([]);
  });

  it('what was applied, put or removed is known to commands before it is answered', async () => {
    const store = createMemoryStore();
    const changesSince = store.changesSince.bind(store);
    store.changesSince = async (...asked) => {
      await nextTurn();
      return changesSince(...asked);
    };
    const directory = new Directory(store);
    const stop = await directory.open();
    const files = createSiteFiles(store, {}, () => directory.caughtUp());
    const known = (id: string) => directory.find('sys', id) !== null;
    await (await files.plan('systems: [{id: sys-1, name: One}]')).run();
    expect(known('sys-1')).toBe(true);
    const stored = await store.get('sys-1');
    if (stored?.document.type !== 'sys') throw new Error('it is a system');
    const version = await files.put({ ...stored.document, id: 'sys-2' }, null);
    expect(known('sys-2')).toBe(true);
    await files.remove('sys-2', version);
    expect(known('sys-2')).toBe(false);
    stop();
  });

  it('round trip: apply finds nothing to change, and makes the same documents in an empty store', async () => {
    await fc.assert(
      fc.asyncProperty(siteDocuments, async (documents) => {
        const store = await storeWith(...documents);
        const files = createSiteFiles(store);
        const text = await files.export();
        expect((await files.plan(text)).plan).toEqual({ changes: [], unchanged: documents.length, warnings: [] });

        const copy = createMemoryStore();
        await (await createSiteFiles(copy).plan(text)).run();
        for (const { id } of documents) expect((await copy.get(id))?.document).toEqual((await store.get(id))?.document);
      }),
      { seed: 5, numRuns: 300 },
    );
  });
});

/** Names, notes and settings of every kind; documents that fit together. */
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom('yes', 'null', '~', '0123', '1e3', '- a', '# no', 'a: b', '<<', ' x ', 'a\nb\n\n', '\ttab', "it's", '"', '%', '@', '!tag', '&a', '*a', '2020-01-01', 'a\r\nb', '---'),
  fc.string({ maxLength: 200 }),
);
const anyName = anyText.filter((text) => text.length > 0);
const anySettings = fc.dictionary(
  anyText.filter((key) => key !== '__proto__'),
  fc.jsonValue({ maxDepth: 3, noUnicodeString: false }),
  { maxKeys: 4 },
) as fc.Arbitrary<Record<string, unknown>>;

const siteDocuments = fc
  .record({
    location: fc.constantFrom(null, 'edge-1', 'edge-2'),
    names: fc.tuple(anyName, anyName, anyName, anyName),
    notes: fc.tuple(anyText, anyText),
    settings: fc.tuple(anySettings, anySettings, anySettings, anySettings),
    failover: fc.boolean(),
    window: fc.constantFrom(null, '0 3 * * *', '*/5 1-4 * * mon-fri'),
    port: fc.nat({ max: 65_535 }),
    listed: fc.boolean(),
  })
  .map(({ location, names, notes, settings, failover, window, port, listed }) => [
    { id: 'edge-1', type: 'edge', name: names[0], description: notes[0], failover, window_start: window, timezone: 'Asia/Kathmandu' },
    { id: 'edge-2', type: 'edge', name: 'Two' },
    { id: 'drv-1', type: 'driver', name: names[1], builtin: 'mock', settings: settings[0] },
    { id: 'zone-1', type: 'zone', name: names[2], tags: [notes[1].slice(0, 100)], settings: settings[1] },
    { id: 'mod-1', type: 'mod', driver_id: 'drv-1', name: 'Display', edge_control_id: location, port, settings: settings[2], notes: notes[1], running: failover },
    { id: 'sys-1', type: 'sys', name: names[3], edge_control_id: location, zones: ['zone-1'], modules: listed ? ['mod-1'] : [], settings: settings[3] },
  ]);
