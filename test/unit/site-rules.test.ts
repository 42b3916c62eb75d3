import { expect, it } from 'vitest';
import { createMemoryStore } from '../../src/shared/adapters/store-memory/memory-store.ts';
import { parseSiteFile } from '../../src/shared/runtime/site-files/site-file.ts';
import { type ApplyPlan, planApply, problemLine, runApply } from '../../src/shared/runtime/site-files/site-plan.ts';

const plan = (text: string): Promise<ApplyPlan> => planApply(text, createMemoryStore());
const problems = async (text: string): Promise<string[]> => (await plan(text)).errors.map(problemLine);

it('lists what is wrong with types, windows, time zones and references at once, also within one document', async () => {
  const text = `edges:
  - id: berlin
    name: Berlin
    timezone: Berlin
    timeout: 3
    window_start: 30 25 * * *
systems:
  - {id: sys-1, name: Room, edge_control_id: berlin, zones: [zone-9]}
modules:
  - {id: mod-1, name: Display, driver_id: drv-9, settings: [a]}
`;
  expect(await problems(text)).toEqual([
    expect.stringMatching(/^4:15 edges\[0\]\.timezone: "Berlin" is not a known time zone/),
    expect.stringMatching(/^5:14 edges\[0\]\.timeout: /),
    expect.stringMatching(/^6:19 edges\[0\]\.window_start: /),
    '8:62 systems[0].zones[0]: there is no zone "zone-9", neither in the file nor in the store',
    '10:60 modules[0].settings: must be a mapping, such as {name: value}',
  ]);
});

it('takes no document for missing that may be among those that could not be read', async () => {
  const references = 'systems: [{id: sys-1, name: Room, zones: [zone-1]}]\n';
  expect(await problems(`${references}zones: [{id: zone-1, nam: Ground}]`)).toHaveLength(2);
  expect(await problems(`${references}zonse: [{id: zone-1, name: Ground}]`)).toEqual(['2:1 zonse: is unknown; did you mean zones?']);
});

it('refuses a module twice in one system', async () => {
  const text = `drivers: [{id: drv-1, name: Mock, builtin: mock}]
modules: [{id: mod-1, name: Display, driver_id: drv-1}, {id: mod-2, name: Display, driver_id: drv-1}]
systems: [{id: sys-1, name: Room, modules: [mod-1, mod-2, mod-1]}]
`;
  expect(await problems(text)).toEqual(['3:59 systems[0].modules[2]: module "mod-1" is there already, as modules[0]; a system has a module once']);
});

it('refuses zones that are their own parent, each circle once and by name, also across the store', async () => {
  const zones = (parents: Record<string, string | null>): string =>
    `zones:\n${Object.entries(parents).map(([id, parent]) => `  - {id: ${id}, name: Zone, parent_id: ${parent ?? 'null'}}\n`).join('')}`;
  expect(await problems(zones({ 'zone-a': 'zone-b', 'zone-b': 'zone-a', 'zone-c': 'zone-a', 'zone-d': null }))).toEqual([
    "2:41 zones[0].parent_id: zones are each other's parent: zone-a → zone-b → zone-a; one of them must have none",
  ]);
  expect(await problems(zones({ 'zone-a': 'zone-a' }))).toEqual([expect.stringContaining('zone-a → zone-a;')]);
  const store = createMemoryStore();
  await runApply(await planApply(zones({ 'zone-a': null, 'zone-b': 'zone-a' }), store), store);
  expect((await planApply(zones({ 'zone-a': 'zone-b' }), store)).errors.map(problemLine)).toEqual([expect.stringContaining('zone-a → zone-b → zone-a;')]);
});

it('warns of secrets in plain text, once for the whole file, and of none that is sealed, empty or as it was', async () => {
  const text = (settings: string): string => `drivers: [{id: drv-1, name: Mock, builtin: mock, settings: ${settings}}]`;
  const warned = '{password: geheim, login: {api_key: 7}, users: [{pin: "1"}], snmp: {community: public}}';
  expect((await plan(text(warned))).warnings).toEqual([
    'stored in plain text, for everybody who reads the documents or a backup: ' +
      'drv-1: settings.password, drv-1: settings.login.api_key, drv-1: settings.users[0].pin and 1 more; ' +
      'write {"$secret": "…"} in the place of the value to have it sealed (holdfast settings new-key makes the key for that)',
  ]);
  for (const harmless of ['{password: ""}', '{password: {$secret: geheim}}', '{token_check: true}', '{bypass: 1}', '{volume: 5, keyboard: de}']) {
    expect((await plan(text(harmless))).warnings).toEqual([]);
  }
  const store = createMemoryStore();
  await runApply(await planApply(text('{password: geheim}'), store), store);
  expect((await planApply(text('{password: geheim}'), store)).warnings).toEqual([]);
});

it('reads a long file in portions, so that others have their turn', async () => {
  let turns = 0;
  let read = false;
  const turn = (): void => {
    turns += 1;
    if (!read) setImmediate(turn);
  };
  setImmediate(turn);
  const zones = Array.from({ length: 2_000 }, (_, i) => `  - {id: zone-${i}, name: Zone}\n`).join('');
  expect((await parseSiteFile(`zones:\n${zones}`, setImmediate)).entries).toHaveLength(2_000);
  read = true;
  expect(turns).toBeGreaterThan(25);
});
