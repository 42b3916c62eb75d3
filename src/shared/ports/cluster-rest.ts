/** The administration of a Couchbase cluster over HTTP. */

export interface ClusterCall {
  method: 'GET' | 'POST' | 'DELETE';
  /** Begins with `/`. */
  path: string;
  /** Sent as a form. */
  form?: Readonly<Record<string, string>>;
  /** A node that is not set up knows nobody: such a call has no user and password. */
  anonymous?: boolean;
}

export interface ClusterAnswer {
  status: number;
  body: string;
}

export interface ClusterRest {
  /** As it is shown: scheme, host and port. */
  readonly origin: string;
  /** Throws CLUSTER_UNREACHABLE: also when the certificate is not trusted. Any status is an answer. */
  call(call: ClusterCall): Promise<ClusterAnswer>;
}
