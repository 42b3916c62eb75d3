import type {
  AnyDocument, DocumentKind, DocumentOf, DriverDocument, EdgeDocument, ModuleDocument, SystemDocument, ZoneDocument,
} from '../../model/documents.ts';
import { documentKinds } from '../../model/documents.ts';
import { discloseAll, type Disclosed } from '../../model/disclosure.ts';
import { MASTER_LOCATION } from '../../model/ids.ts';
import { instanceId, partsOf, type TriggerDocument } from '../../model/trigger.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { ModuleSpec } from '../../ports/device-link.ts';
import type { DocumentStore, FeedEntry, FeedHead } from '../../ports/document-store.ts';
import { noSettingsKeys, type SettingsKeys } from '../../ports/settings-keys.ts';
import { openSettings, type OpenedSettings } from './opened-settings.ts';

/** One page of a listing or of the change feed. */
const PAGE = 1_000;

/** A trigger in one system. */
export interface TriggerInstance {
  id: string;
  trigger: TriggerDocument;
  system: SystemDocument;
}

export interface Target {
  module: string;
  location: string;
}

/** What a system calls one of its modules: `Display_1`. */
export interface SystemModule {
  name: string;
  index: number;
  id: string;
}

/** Every document in memory, with the look-ups that commands and boots need. Follows the change feed of its store. */
export class Directory {
  readonly store: DocumentStore;
  readonly #keys: SettingsKeys;
  readonly #edges = new Map<string, EdgeDocument>();
  readonly #systems = new Map<string, SystemDocument>();
  readonly #modules = new Map<string, ModuleDocument>();
  readonly #drivers = new Map<string, DriverDocument>();
  readonly #zones = new Map<string, ZoneDocument>();
  readonly #triggers = new Map<string, TriggerDocument>();
  /** By kind; null: not looked up here. */
  readonly #maps: Readonly<Record<DocumentKind, Map<string, AnyDocument> | null>> = {
    edge: this.#edges, sys: this.#systems, mod: this.#modules, driver: this.#drivers, zone: this.#zones, trigger: this.#triggers, api_key: null, token: null,
  };
  /** Location of a module that does not name it itself: that of a system that lists it. */
  readonly #listedIn = new Map<string, string>();
  /** The systems that list a module. */
  readonly #systemsOf = new Map<string, SystemDocument[]>();
  readonly #listeners = new Set<(changed: AnyDocument[]) => void>();
  /** By system, what its modules are called. Each is worked out when it is asked for, until the next change. */
  readonly #names = new Map<string, Map<string, ModuleDocument[]>>();
  /** Modules that are wanted to run, by location. Worked out when it is asked for; null: not since the last change. */
  #wanted: ReadonlyMap<string, number> | null = null;
  /** The same. */
  #disclosed: ReadonlyMap<string, Disclosed> | null = null;
  #head: FeedHead = { generation: '', sequence: 0 };
  #following: Promise<void> = Promise.resolve();

  /** `keys`: open what is sealed in the settings of modules. */
  constructor(store: DocumentStore, keys: SettingsKeys = noSettingsKeys) {
    this.store = store;
    this.#keys = keys;
  }

  /** Reads everything, then follows. Returns the way to stop following. */
  async open(): Promise<() => void> {
    await this.#readAll();
    const stops = [this.store.onChange(() => void this.caughtUp()), this.#keys.onChange(() => this.#tell([]))];
    return () => {
      for (const stop of stops) stop();
    };
  }

  /** Resolves when what is in the store now is known here. */
  caughtUp(): Promise<void> {
    this.#following = this.#following.then(() => this.#catchUp());
    return this.#following;
  }

  /** A system, module, driver, zone or trigger; the other kinds are not looked up here. */
  find(kind: DocumentKind, id: string): AnyDocument | null {
    return this.#maps[kind]?.get(id) ?? null;
  }

  /** Everything of which something could be disclosed. */
  *documentsWithSecrets(): Iterable<AnyDocument> {
    for (const map of [this.#systems, this.#modules, this.#drivers, this.#zones, this.#triggers]) yield* map.values();
  }

  /** What the edge of a location may know, once these changes are made. */
  disclosedTo(location: string, changes: readonly FeedEntry[] = []): Disclosed {
    if (changes.length > 0) return discloseAll(changed(this.#systems, 'sys', changes), changed(this.#modules, 'mod', changes)).get(location) ?? new Set();
    this.#disclosed ??= discloseAll(this.#systems.values(), this.#modules.values());
    return this.#disclosed.get(location) ?? new Set();
  }

  edge(id: string): EdgeDocument | null {
    return this.#edges.get(id) ?? null;
  }

  edges(): EdgeDocument[] {
    return [...this.#edges.values()];
  }

  systemsOf(location: string): SystemDocument[] {
    return [...this.#systems.values()].filter((system) => (system.edge_control_id ?? MASTER_LOCATION) === location);
  }

  /** Of the systems of a location, each trigger once. What a system lists and is not there is left out. */
  triggersOf(location: string): TriggerInstance[] {
    return this.systemsOf(location).flatMap((system) =>
      [...new Set(system.triggers)].flatMap((id) => {
        const trigger = this.#triggers.get(id);
        return trigger === undefined ? [] : [{ id: instanceId(id, system.id), trigger, system }];
      }),
    );
  }

  /** null: not a trigger of a system of this location. */
  triggerInstance(location: string, id: string): TriggerInstance | null {
    const parts = partsOf(id);
    const system = this.#systems.get(parts.system);
    const trigger = this.#triggers.get(parts.trigger);
    if (system === undefined || trigger === undefined || !system.triggers.includes(trigger.id)) return null;
    return (system.edge_control_id ?? MASTER_LOCATION) === location ? { id, trigger, system } : null;
  }

  /** Throws NOT_FOUND. */
  system(id: string): SystemDocument {
    const system = this.#systems.get(id);
    if (system === undefined) throw new HoldfastError('NOT_FOUND', { kind: 'system', id });
    return system;
  }

  /** null: there is no such system, or it belongs to no location. */
  locationOfSystem(id: string): string | null {
    return this.#systems.get(id)?.edge_control_id ?? null;
  }

  /** Its own and those of its modules; when there are none it is the master's. Empty: there is no such system. */
  locationsOfSystem(id: string): string[] {
    const system = this.#systems.get(id);
    if (system === undefined) return [];
    const found = new Set(system.edge_control_id === null ? [] : [system.edge_control_id]);
    for (const module of this.modulesListedIn(id)) found.add(this.locationOf(module));
    return found.size === 0 ? [MASTER_LOCATION] : [...found];
  }

  /** The modules that a system lists, and are there. Throws NOT_FOUND. */
  modulesListedIn(system: string): ModuleDocument[] {
    return [...new Set(this.system(system).modules)].flatMap((id) => this.#modules.get(id) ?? []);
  }

  modulesAt(location: string): ModuleDocument[] {
    return [...this.#modules.values()].filter((module) => this.locationOf(module) === location);
  }

  /**
   * Reads anew everything that has to do with a system, works out what follows from it, and says what the system calls
   * its modules. Throws NOT_FOUND.
   */
  refresh(system: string): Promise<SystemModule[]> {
    // In turn with the feed: what is read here must not replace what a later change says.
    const refreshed = this.caughtUp().then(() => this.#refresh(system));
    this.#following = refreshed.then(
      () => undefined,
      () => undefined,
    );
    return refreshed;
  }

  async #refresh(system: string): Promise<SystemModule[]> {
    const read = async (ids: readonly string[]): Promise<AnyDocument[]> => {
      const found = await Promise.all([...new Set(ids)].map(async (id) => ({ id, document: (await this.store.get(id))?.document ?? null })));
      for (const { id, document } of found) {
        this.#remove(id, document?.type);
        if (document !== null) this.#put(document);
      }
      return found.flatMap(({ document }) => document ?? []);
    };
    const [itself] = await read([system]);
    if (itself?.type !== 'sys') throw new HoldfastError('NOT_FOUND', { kind: 'system', id: system });
    const parts = await read([...itself.modules, ...itself.zones, ...itself.triggers]);
    const drivers = await read(parts.flatMap((part) => (part.type === 'mod' ? [part.driver_id] : [])));
    this.#index();
    this.#tell([itself, ...parts, ...drivers]);
    return [...this.#namesIn(itself)].flatMap(([name, modules]) => modules.map(({ id }, at) => ({ name, index: at + 1, id })));
  }

  /** A module by its id. Throws NOT_FOUND. */
  module(id: string): Target & { driver: string } {
    const module = this.#modules.get(id);
    if (module === undefined) throw new HoldfastError('NOT_FOUND', { kind: 'module', id });
    return { module: id, location: this.locationOf(module), driver: this.#drivers.get(module.driver_id)?.name ?? module.driver_id };
  }

  /** Where the code of a module comes from: other drivers may name the same. Throws NOT_FOUND. */
  codeOf(id: string): Target & { driver: string } {
    const { location, module } = this.module(id);
    return { location, module, driver: this.#code(this.#modules.get(id)?.driver_id ?? '') };
  }

  /** The code of a driver, and the locations that have modules of that code. Throws NOT_FOUND. */
  driver(id: string): { code: string; locations: string[] } {
    if (!this.#drivers.has(id)) throw new HoldfastError('NOT_FOUND', { kind: 'driver', id });
    const code = this.#code(id);
    const modules = [...this.#modules.values()].filter(({ driver_id }) => this.#code(driver_id) === code);
    return { code, locations: [...new Set(modules.map((module) => this.locationOf(module)))].toSorted() };
  }

  /** The module that a system calls `Display_1`: the index counts modules of that name in the order of the list. */
  resolve(systemId: string, name: string, index: number): Target {
    this.system(systemId);
    const found = this.tryResolve(systemId, name, index);
    if (found === null) throw new HoldfastError('NOT_FOUND', { kind: 'module', id: `${systemId}/${name}_${index}` });
    return found;
  }

  /** null: there is no such module, or no such system. */
  tryResolve(systemId: string, name: string, index: number): Target | null {
    const module = this.#systems.has(systemId) ? this.#named(systemId, name)[index - 1] : undefined;
    return module === undefined ? null : { module: module.id, location: this.locationOf(module) };
  }

  /** How many modules of that name the system lists. Throws NOT_FOUND for a system that is not there. */
  count(systemId: string, name: string): number {
    return this.#named(systemId, name).length;
  }

  locationOf(module: ModuleDocument): string {
    return module.edge_control_id ?? this.#listedIn.get(module.id) ?? MASTER_LOCATION;
  }

  /** What a driver host needs to run the modules of a location that are wanted to run. Opens their settings: for those who start them. */
  modulesOf(location: string): ModuleSpec[] {
    return [...this.#runningAt(location)].map((module) => this.#spec(module));
  }

  /** Ids of the modules of a location that are wanted to run. */
  moduleIdsAt(location: string): string[] {
    return [...this.#runningAt(location)].map(({ id }) => id);
  }

  isAt(id: string, location: string): boolean {
    const module = this.#modules.get(id);
    return module !== undefined && this.locationOf(module) === location;
  }

  /** Is it a module of this location that is wanted to run? */
  isWanted(id: string, location: string): boolean {
    return this.#modules.get(id)?.running === true && this.isAt(id, location);
  }

  /** The code that they run, each once. */
  codesAt(location: string): string[] {
    return [...new Set([...this.#runningAt(location)].map(({ driver_id }) => this.#code(driver_id)))].toSorted();
  }

  /** How many there are: to make them all costs too much for a view. */
  countModulesOf(location: string): number {
    this.#wanted ??= this.#countWanted();
    return this.#wanted.get(location) ?? 0;
  }

  *#runningAt(location: string): Iterable<ModuleDocument> {
    for (const module of this.#modules.values()) if (module.running && this.locationOf(module) === location) yield module;
  }

  /** Called with the documents that changed, after the directory knows them; with none when modules may get other settings from them. */
  onChange(listener: (changed: AnyDocument[]) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  #named(systemId: string, name: string): readonly ModuleDocument[] {
    let names = this.#names.get(systemId);
    if (names === undefined) this.#names.set(systemId, (names = this.#namesIn(this.system(systemId))));
    return names.get(name) ?? [];
  }

  /** In the order of the list. */
  #namesIn({ modules }: SystemDocument): Map<string, ModuleDocument[]> {
    const names = new Map<string, ModuleDocument[]>();
    for (const id of modules) {
      const module = this.#modules.get(id);
      if (module === undefined) continue;
      const named = names.get(module.name);
      if (named === undefined) names.set(module.name, [module]);
      else named.push(module);
    }
    return names;
  }

  #countWanted(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const module of this.#modules.values()) {
      const location = this.locationOf(module);
      if (module.running) counts.set(location, (counts.get(location) ?? 0) + 1);
    }
    return counts;
  }

  #spec(module: ModuleDocument): ModuleSpec {
    const driver = this.#drivers.get(module.driver_id);
    const systems = driver?.role === 'logic' ? (this.#systemsOf.get(module.id) ?? []) : [];
    return {
      id: module.id,
      driver: this.#code(module.driver_id),
      role: driver?.role ?? 'device',
      name: module.name,
      ip: module.ip,
      port: module.port === 0 ? (driver?.default_port ?? 0) : module.port,
      tls: module.tls,
      udp: module.udp,
      makebreak: module.makebreak,
      uri: module.uri,
      ...this.#settings(module, driver, systems),
      systems: systems.map(({ id }) => id).sort(),
    };
  }

  #code(driver: string): string {
    return this.#drivers.get(driver)?.builtin ?? driver;
  }

  /** First hit wins: module, then (logic) system and its zones in the order of its list, then driver. */
  #settings(module: ModuleDocument, driver: DriverDocument | undefined, [system]: readonly SystemDocument[]): OpenedSettings {
    const zones = (system?.zones ?? []).map((id) => this.#zones.get(id));
    const layers = [module, system, ...zones, driver].filter((layer) => layer !== undefined);
    return openSettings(layers, this.#keys);
  }

  async #readAll(): Promise<void> {
    this.#head = await this.store.head();
    for (const kind of documentKinds) await this.#readKind(kind);
    this.#index();
  }

  async #readKind(kind: DocumentKind): Promise<void> {
    let after: string | null = null;
    for (;;) {
      const page: { document: AnyDocument }[] = await this.store.list(kind, { limit: PAGE, ...(after === null ? {} : { after }) });
      for (const { document } of page) this.#put(document);
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) return;
      after = last.document.id;
    }
  }

  async #catchUp(): Promise<void> {
    for (;;) {
      const page = await this.store.changesSince(this.#head, PAGE);
      if (page.tooOld || page.generation !== this.#head.generation) {
        for (const map of [this.#edges, this.#systems, this.#modules, this.#drivers, this.#zones, this.#triggers]) map.clear();
        await this.#readAll();
        this.#tell([...this.#edges.values(), ...this.#modules.values()]);
        return;
      }
      const last = page.entries.at(-1);
      if (last === undefined) return;
      for (const entry of page.entries) {
        // An id may have come back as another kind.
        this.#remove(entry.id, entry.document?.type);
        if (entry.document !== null) this.#put(entry.document);
      }
      this.#head = { generation: page.generation, sequence: last.sequence };
      this.#index();
      this.#tell(page.entries.flatMap((entry) => (entry.document === null ? [] : [entry.document])));
    }
  }

  #tell(changed: AnyDocument[]): void {
    for (const listener of this.#listeners) listener(changed);
  }

  #put(document: AnyDocument): void {
    switch (document.type) {
      case 'edge':
        this.#edges.set(document.id, document);
        break;
      case 'sys':
        this.#systems.set(document.id, document);
        break;
      case 'mod':
        this.#modules.set(document.id, document);
        break;
      case 'driver':
        this.#drivers.set(document.id, document);
        break;
      case 'zone':
        this.#zones.set(document.id, document);
        break;
      case 'trigger':
        this.#triggers.set(document.id, document);
        break;
      case 'api_key':
      case 'token':
        // Read by the authorisation alone.
        break;
    }
  }

  #remove(id: string, but?: DocumentKind): void {
    for (const kind of documentKinds) if (kind !== but) this.#maps[kind]?.delete(id);
  }

  #index(): void {
    this.#disclosed = null;
    this.#wanted = null;
    this.#names.clear();
    this.#listedIn.clear();
    this.#systemsOf.clear();
    for (const system of this.#systems.values()) {
      for (const module of new Set(system.modules)) {
        if (system.edge_control_id !== null) this.#listedIn.set(module, system.edge_control_id);
        this.#systemsOf.set(module, [...(this.#systemsOf.get(module) ?? []), system]);
      }
    }
  }
}

/** Documents of one kind as they will be. */
function changed<K extends DocumentKind>(known: ReadonlyMap<string, DocumentOf<K>>, kind: K, changes: readonly FeedEntry[]): Iterable<DocumentOf<K>> {
  const isOfKind = (document: AnyDocument | null): document is DocumentOf<K> => document?.type === kind;
  const next = new Map(known);
  for (const { id, document } of changes) {
    if (isOfKind(document)) next.set(id, document);
    else next.delete(id);
  }
  return next.values();
}
