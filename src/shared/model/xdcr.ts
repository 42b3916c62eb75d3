/** A call to a cluster that changes something, without what is secret in it. */
export interface ClusterChange {
  cluster: string;
  call: string;
  form: Record<string, string>;
}

/** How the cluster of the centre fills that of a site. */
export interface ReplicationState {
  name: string;
  hostname: string;
  /** `full`: TLS, and its certificate is checked. */
  encryption: string;
  /** null: there is a reference and no replication of this bucket. */
  id: string | null;
  status: string;
  changes_left: number | null;
  docs_written: number | null;
  errors: string[];
}
