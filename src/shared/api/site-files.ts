import type { SiteDocument } from '../model/documents.ts';
import type { Version } from '../ports/document-store.ts';

export interface PlannedChange {
  op: 'create' | 'update' | 'remove';
  kind: string;
  id: string;
  /** What differs, a line each. */
  details: string[];
}

export interface SitePlan {
  changes: PlannedChange[];
  /** Documents that are already as wanted. */
  unchanged: number;
  warnings: string[];
}

/** Values of one document that are sealed with one key. */
export interface SealedRow {
  id: string;
  kind: string;
  key: string;
  /** Does this server have the key? */
  known: boolean;
  values: number;
}

export interface SealedSummary {
  /** Ids of the keys of this server; the first seals. */
  keys: string[];
  sealed: SealedRow[];
}

export interface RekeyPlan {
  /** Id of the key under which everything is sealed afterwards. */
  key: string;
  /** What is sealed anew. */
  documents: { id: string; kind: string; values: number }[];
  values: number;
}

export interface Rekeying {
  plan: RekeyPlan;
  /** Carries out this very plan, or throws VERSION_CONFLICT. */
  run(): Promise<void>;
}

export interface Planned {
  plan: SitePlan;
  /** Of everything that would change, before and after; null: of none, or not of one alone. */
  location: string | null;
  /** Carries out this very plan, or throws VERSION_CONFLICT. */
  run(): Promise<void>;
}

/** Documents, changed under the rules that join them: `apply` and `export` as one text, and one by one. */
export interface SiteFiles {
  /** Works out what the text would change and changes nothing. */
  plan(text: string): Promise<Planned>;
  export(): Promise<string>;
  /** `expect` null: a new one. Answers its version. Throws INPUT_INVALID, VERSION_CONFLICT. */
  put(document: SiteDocument, expect: Version | null): Promise<Version>;
  /** Throws IN_USE, VERSION_CONFLICT. */
  remove(id: string, expect: Version): Promise<void>;
  /** What is sealed in settings, and with which keys. */
  sealed(): Promise<SealedSummary>;
  /** Throws SETTINGS_KEY_MISSING, SETTINGS_SEALED. */
  rekey(): Promise<Rekeying>;
}
