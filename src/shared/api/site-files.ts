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

/** `apply` and `export` of documents as one text. */
export interface SiteFiles {
  /** Works out what the text would change and changes nothing. `run` carries out this very plan, or throws VERSION_CONFLICT. */
  plan(text: string): Promise<{ plan: SitePlan; run(): Promise<void> }>;
  export(): Promise<string>;
}
