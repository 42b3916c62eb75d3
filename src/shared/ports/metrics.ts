/** Every metric, once: `docs/operations.md` lists the same rows and a test compares them. */
export const metricTable = {
  holdfast_control_moves_total: { type: 'counter', help: 'Changes of holder', labels: ['location', 'to', 'reason'] },
  holdfast_control_holder: { type: 'gauge', help: '1 for the party that holds the location, as this node sees it', labels: ['location', 'holder'] },
  holdfast_control_epoch: { type: 'gauge', help: 'Number of the control epoch', labels: ['location'] },
  holdfast_dual_control_seconds_total: { type: 'counter', help: 'Time during which both sides held a location, by both journals', labels: ['location'] },
  holdfast_fencing_refusals_total: { type: 'counter', help: 'Messages, writes and values refused for a stale or missing epoch', labels: ['fence'] },
  holdfast_status_dropped_total: { type: 'counter', help: 'Status dropped: of unknown modules, or of too many variables', labels: ['location', 'reason'] },
  holdfast_link_up: { type: 'gauge', help: '1 while the link to the peer is open', labels: ['peer'] },
  holdfast_link_losses_total: { type: 'counter', help: 'Links lost, by reason', labels: ['peer', 'reason'] },
  holdfast_link_dropped_total: { type: 'counter', help: 'Messages dropped because the peer reads too slowly', labels: ['peer'] },
  holdfast_link_refused_total: { type: 'counter', help: 'Links and frames refused, by reason', labels: ['reason'] },
  holdfast_link_round_trip_seconds: { type: 'gauge', help: 'Last heartbeat round trip', labels: ['peer'] },
  holdfast_requests_in_flight: { type: 'gauge', help: 'Requests under way on links', labels: ['peer'] },
  holdfast_exec_total: { type: 'counter', help: 'Method calls, by outcome', labels: ['outcome'] },
  holdfast_trigger_firings_total: { type: 'counter', help: 'Triggers that fired', labels: ['location'] },
  holdfast_trigger_failures_total: { type: 'counter', help: 'Actions of triggers that failed', labels: ['location'] },
  holdfast_trigger_doubles_total: { type: 'counter', help: 'Occurrences that fired on both sides, as the master found out', labels: ['location'] },
  holdfast_api_requests_total: { type: 'counter', help: 'REST requests, by route and HTTP status', labels: ['route', 'status'] },
  holdfast_api_streams: { type: 'gauge', help: 'Event streams that are open', labels: [] },
  holdfast_client_sockets: { type: 'gauge', help: 'WebSockets of clients that are open', labels: [] },
  holdfast_client_bindings: { type: 'gauge', help: 'Status variables to which clients are bound, by all their sockets', labels: [] },
  holdfast_client_commands_total: { type: 'counter', help: 'WebSocket commands of clients, by command and outcome', labels: ['command', 'outcome'] },
  holdfast_modules: { type: 'gauge', help: 'Modules by state in this node', labels: ['state'] },
  holdfast_commit_as_wanted: { type: 'gauge', help: '1 while the drivers of the location are those of the wanted commit', labels: ['location'] },
  holdfast_driver_host_restarts_total: { type: 'counter', help: 'Driver host processes that ended and were started again', labels: [] },
  holdfast_replication_sequence: { type: 'gauge', help: 'Sequence of the change feed applied (edge) or written (master)', labels: [] },
  holdfast_store_age_seconds: { type: 'gauge', help: 'Age of the documents: since contact with the database, in a copy since the last heartbeat', labels: [] },
  holdfast_access_refused_total: { type: 'counter', help: 'Requests and WebSockets refused for want of a key or of a right', labels: ['reason'] },
  holdfast_events_total: { type: 'counter', help: 'Events recorded, by kind', labels: ['kind'] },
  holdfast_events_lost_total: { type: 'counter', help: 'Events that could not be stored, so that the next restart forgets them', labels: [] },
  holdfast_journal_failures_total: { type: 'counter', help: 'Control journal writes that failed', labels: [] },
} as const satisfies Record<string, { type: 'counter' | 'gauge'; help: string; labels: readonly string[] }>;

export type MetricName = keyof typeof metricTable;
export type MetricLabels<M extends MetricName> = Record<(typeof metricTable)[M]['labels'][number], string>;

export interface Metrics {
  add<M extends MetricName>(name: M, labels: MetricLabels<M>, amount?: number): void;
  set<M extends MetricName>(name: M, labels: MetricLabels<M>, value: number): void;
  /** The current value; 0 when never touched. */
  read<M extends MetricName>(name: M, labels: MetricLabels<M>): number;
}
