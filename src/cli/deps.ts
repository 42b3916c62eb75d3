import type { Json, JsonObject } from '../shared/foundation/json.ts';
import type { ClusterAddress } from '../shared/model/cluster-address.ts';
import type { ClusterChange, ReplicationState } from '../shared/model/xdcr.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { Client, ClientOptions, Location } from '../client-sdk/index.ts';
import type { DataFacts } from './doctor/facts.ts';

export interface Output {
  write(text: string): void;
  readonly isTTY: boolean;
}

export interface Input {
  readonly isTTY: boolean;
  /** Asks on the terminal; the answer comes without its line end. */
  ask(question: string): Promise<string>;
  /** Everything up to the end. */
  readAll(): Promise<string>;
}

/** How a check ended that the command runs itself. */
export interface Outcome {
  ok: boolean;
  summary: string;
  facts: JsonObject;
}

export interface RestoreResult {
  /** What is in the data directory, in words. */
  before: string;
  /** What is there afterwards, or would be. */
  after: string;
  summary: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

export type Print = (line: string) => void;

/** What `holdfast demo --json` prints when everything is up. */
export interface DemoReport {
  ready: true;
  dataDir: string;
  apiKey: string;
  masters: { id: string; origin: string; link: string; pid: number }[];
  edges: { id: string; location: string; origin: string; pid: number }[];
  systems: string[];
}

/** What a driver says of itself. */
export interface CheckedDriver {
  name: string;
  role: string;
  transports: readonly string[];
  /** JSON schema of its settings. */
  settings: JsonObject;
  functions: Record<string, { arity: number; params: Record<string, JsonObject>; order: string[] }>;
  /** Status variables that it has right after its setup. */
  status: string[];
}

export interface DriverTest {
  name: string;
  file: string;
  outcome: 'passed' | 'failed' | 'skipped' | 'todo';
  problem: string | null;
}

export interface ImportReport {
  /** The site file. */
  text: string;
  /** By document; `to` null: left out. */
  report: { id: string; changes: { field: string; from: Json; to: Json; why: string }[] }[];
  skipped: { id: string; why: string }[];
}

export interface IndexRepair {
  documents: number;
  /** Ids that an index misses, and that it lists for nothing. */
  differences: { index: string; missing: string[]; surplus: string[] }[];
  /** Documents that no schema takes. */
  damaged: string[];
}

/** A cluster as the command line names it; the files are read already. */
export interface ClusterAccess {
  address: ClusterAddress;
  password: string;
  /** PEM of its authority; null: those that the machine trusts. */
  ca: string | null;
}

export interface SetUpRequest {
  centre: ClusterAccess;
  site: ClusterAccess;
  name: string;
  memoryMb: number;
  dryRun: boolean;
  signal: AbortSignal;
}

/** Replication by the database. Each throws CLUSTER_UNREACHABLE, CLUSTER_REFUSED. */
export interface XdcrCommands {
  /** Makes what is missing. Says what it changed, or would. */
  setUp(options: SetUpRequest): Promise<ClusterChange[]>;
  states(options: { centre: ClusterAccess; name: string | null; signal: AbortSignal }): Promise<ReplicationState[]>;
  remove(options: { centre: ClusterAccess; name: string; dryRun: boolean; signal: AbortSignal }): Promise<ClusterChange[]>;
}

/** What runs in this process rather than at a server. `signal` aborts when the user interrupts. */
export interface LocalCommands {
  /** Runs a server until `signal` aborts, or standard input ends if `withParent`; configured by the environment. */
  serve(options: { signal: AbortSignal; withParent: boolean }): Promise<void>;
  /** Runs a whole federation with simulated devices until `signal` aborts: one line of JSON, or a view for people. */
  demo(options: { signal: AbortSignal; json: boolean; print: Print; note: Print; table: (locations: Location[]) => string }): Promise<void>;
  /** What the doctor looks at in a data directory, whether or not a server uses it, and around it. Changes nothing. */
  inspect(options: { folder: string; env: Environment; signal: AbortSignal }): Promise<DataFacts>;
  /** Everything that is wrong with a store or a backup that no server has open. */
  verify(options: { path: string }): Promise<{ problems: string[] }>;
  /** Puts a backup in the place of the store of a data directory that no server uses. */
  restore(options: { backup: string; data: string; dryRun: boolean }): Promise<RestoreResult>;
  /** Documents of ACA Engine in a bucket, as a site file; what changes with them. Reads only. */
  importCouchbase(options: { from: string; env: Environment; signal: AbortSignal }): Promise<ImportReport>;
  /** Compares the indexes of the database that HOLDFAST_STORE names, and writes those anew that differ. null: servers are writing. */
  rebuildIndexes(options: { env: Environment; dryRun: boolean; signal: AbortSignal }): Promise<IndexRepair | null>;
  xdcr: XdcrCommands;
  /** Makes a key for sealed settings: its line in a file of keys. */
  newSettingsKey(): Promise<{ line: string }>;
  /** Writes a driver to begin with. */
  newDriver(options: { name: string; folder: string }): Promise<{ files: string[] }>;
  /** Runs the tests of drivers below a folder; a file that takes longer than `timeoutMs` has failed. */
  testDrivers(options: { folder: string; timeoutMs: number; signal: AbortSignal }): Promise<DriverTest[]>;
  /** Loads a driver and sets it up without a device. `print`: what the driver says meanwhile. */
  checkDriver(options: { path: string; settings: JsonObject; signal: AbortSignal; print: Print }): Promise<CheckedDriver>;
  /** Runs the simulator. */
  sim(options: { seed: string | undefined; runs: number; print: Print; signal: AbortSignal }): Promise<Outcome>;
  /** Checks the control rules exhaustively. */
  model(options: {
    policies: readonly ('available' | 'exclusive' | 'no-failover')[];
    size: 'small' | 'full';
    print: Print;
    signal: AbortSignal;
  }): Promise<Outcome>;
}

/** Everything that the commands need of the world. */
export interface CliDeps extends LocalCommands {
  version: string;
  env: Environment;
  stdout: Output;
  stderr: Output;
  stdin: Input;
  clock: Clock;
  /** Throws with a text worth reading when the file cannot be read. */
  readFile(path: string): Promise<string>;
  /** The end of a file. Throws as `readFile`. */
  readTail(path: string, bytes: number): Promise<string>;
  /** Makes a file that only its owner may read. Throws with a text worth reading, also when it is there already. */
  writeFile(path: string, content: Uint8Array): Promise<void>;
  createClient(options: ClientOptions): Client;
  /** Aborts when the user interrupts. */
  signal: AbortSignal;
}
