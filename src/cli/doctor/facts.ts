import type { JsonObject } from '../../shared/foundation/json.ts';
import type { Location } from '../../client-sdk/index.ts';

/** What the doctor looks at; the checks are functions of it. Times are unix milliseconds of wall clocks. */

/** A data directory and the machine that it is on; no server is asked. */
export interface DataFacts {
  folder: string;
  role: 'master' | 'edge' | null;
  /** Version of Node, and the least that will do. */
  node: { version: string; wanted: string };
  /** The environment as a server would read it; null: it has no variables of a server. */
  configuration: { problem: string | null; described: JsonObject | null } | null;
  /** null: it does not exist; `file`: something else is there, and nothing in it was looked at. */
  directory: { mode: number; unwritable: 'denied' | 'read-only' | null; freeBytes: number } | 'file' | null;
  /** Why the write log that the environment names cannot be opened; null: none is named, or it can. */
  writeLog: { path: string; problem: string } | null;
  databases: DatabaseFacts[];
  certificates: CertificateFacts[];
  /** The newest file in `backups`; null: there is none. */
  newestBackup: string | null;
  /** Id of the key in `admin.key`; null: there is no such file. */
  adminKey: string | null;
  /** What the credentials say; null: they cannot be read now, or are not there. */
  credentials: CredentialFacts | null;
  /** The documents; null: they cannot be read now, or are not there. */
  site: SiteFacts | null;
  /** Keys of sealed settings, by the environment of the server; null: it is not known. */
  settingsKeys: SettingsKeyFacts | null;
  /** The database that the environment names; null: none, or it is not known. */
  store: StoreFacts | null;
  /** Own drivers that do not load. `file` null: their folder cannot be read at all. */
  drivers: { name: string; file: string | null; problem: string }[];
  /** Addresses on which a server could not listen now; looked at only while no server uses the directory. */
  takenPorts: { variable: string; address: string; trouble: 'taken' | 'foreign' | 'denied' }[];
  masters: MasterFacts[];
}

export interface StoreFacts {
  address: string;
  /** It is a copy, which the database of the master fills. */
  replicated: boolean;
  /** What keeps a server from using it; `room`: disk or memory is full. */
  trouble: 'sdk' | 'replication' | 'away' | 'credentials' | 'bucket' | 'scope' | 'durability' | 'room' | 'other' | null;
  problem: string;
  /** null: it cannot be told now. `hidden`: documents that no index lists. */
  index: { documents: number; differences: number; hidden: number; damaged: string[] } | null;
}

export interface SettingsKeyFacts {
  /** null: there is no file, but keys in the environment, or none. */
  file: { path: string; mode: number | null } | null;
  /** Why the file gives no keys. */
  problem: string | null;
  keys: string[];
}

/** Values of one document that are sealed with one key. */
export interface SealedFacts {
  id: string;
  key: string;
  values: number;
}

export interface DatabaseFacts {
  /** `documents-copy.db`: of the documents in a database. */
  name: 'documents.db' | 'documents-copy.db' | 'control.db' | 'credentials.db';
  /** `in-use`: a server has it open. */
  state: 'absent' | 'sound' | 'in-use' | 'damaged';
  problem: string;
}

export interface CertificateFacts {
  name: string;
  /** null: it cannot be read. */
  endsMs: number | null;
}

export interface CredentialFacts {
  /** Edges that may connect to this master. */
  enrolled: string[];
  /** Whom this edge is; null: it was never enrolled. */
  edge: string | null;
}

/** A master as this edge sees it from here. */
export interface MasterFacts {
  address: string;
  outcome: 'reached' | 'unreachable' | 'foreign';
  problem: string;
}

export interface SiteFacts {
  windows: { location: string; start: string | null; length: number; timezone: string }[];
  systems: { id: string; modules: string[] }[];
  modules: ModuleFacts[];
  drivers: { id: string; builtin: string }[];
  /** Names of drivers that the server has; null: not known from here. */
  builtins: string[] | null;
  /** API keys; null: the caller may not list them, or no server could say. */
  keys: { id: string; role: string; revoked: boolean }[] | null;
  /** null: the caller may not see it, or no server could say. */
  sealed: SealedFacts[] | null;
  /** Locations that nobody holds: nothing of them can be connected. */
  unheld: string[];
}

export interface ModuleFacts {
  id: string;
  /** Its name in systems, without the number. */
  name: string;
  driver_id: string;
  ip: string;
  port: number;
  udp: boolean;
  makebreak: boolean;
  running: boolean;
  /** null: nobody has heard of it. */
  connected: boolean | null;
  /** Why it does not work, as it says itself; null: nothing is known against it, or nobody asked. */
  problem: string | null;
  /** Where it belongs; null: at the master, or it is not known from here. */
  location: string | null;
  /** It runs code that was edited and not committed. */
  edited: boolean;
}

/** A federation, through the server that was asked. */
export interface FederationFacts {
  origin: string;
  /** The server could not be asked: why, what to do, and how a command ends that needs it. */
  failure: { problem: string; fix: string; exitCode: number } | null;
  role: 'master' | 'edge';
  waitingFor: string[];
  /** By the clock of the server that was asked. */
  nowMs: number;
  locations: Location[];
  /** Documents as the server shows them, without windows: those are in the locations. */
  site: SiteFacts | null;
  /** Position in the feed of changes; null: not known. */
  sequence: number | null;
  /** How old its documents are, in seconds; null: not known. */
  ageSeconds: number | null;
  edges: EdgeFacts[];
  /** Edges without a link whose name somebody has shown at the link port of this server a moment ago, in vain. */
  refusals: RefusalFacts[];
  /** Machines that were refused a moment ago, because another one with their identity is connected. */
  twins: RefusalFacts[];
  hostEnds: HostEndsFacts;
  /** Ids of the settings keys of the server; null: the caller may not list them. */
  settingsKeys: string[] | null;
}

export interface RefusalFacts {
  location: string;
  /** From where it was tried. */
  remote: string;
  /** As the event `link-refused` says it. */
  reason: string;
}

/** How often driver hosts of a server ended in the last minutes, and why the last one did. */
export interface HostEndsFacts {
  count: number;
  reason: string;
}

/** An edge that was asked itself. */
export interface EdgeFacts {
  id: string;
  origin: string;
  outcome: 'answered' | 'unreachable' | 'not-asked';
  problem: string;
  /** How far its wall clock is ahead of that of the server that was asked first. */
  clockAheadMs: number;
  sequence: number | null;
  ageSeconds: number | null;
  location: Location | null;
  /** The master held it, under one epoch, before and after the edge said that it holds it too. */
  both: boolean;
  hostEnds: HostEndsFacts;
  /** What is sealed in its documents with keys that it does not have; null: the caller may not see it. */
  unopened: SealedFacts[] | null;
}
