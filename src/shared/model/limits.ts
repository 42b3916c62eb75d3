/**
 * Every limit and deadline of the system. `docs/limits.md` lists the same rows, with their reasons; a test compares them both ways.
 * Milliseconds, bytes or counts, as the name says.
 */
export const limits = {
  // Link
  heartbeatMs: 1_000,
  linkDeadMs: 3_000,
  proofMs: 5_000,
  proofFrameBytes: 8 * 1024,
  proofBytes: 128 * 1024,
  proofFailures: 10,
  proofFailuresPerAddress: 60,
  proofFailureWindowMs: 60_000,
  unprovedSockets: 1_000,
  linkCloseMs: 500,
  enrolmentTokenMs: 7 * 86_400_000,
  negotiateMs: 5_000,
  dialAttemptMs: 3_000,
  redialMinMs: 2_000,
  redialMaxMs: 3_000,
  resumeWindowMs: 10_000,
  maxFrameBytes: 8 * 1024 * 1024,
  bulkFrameBytes: 64 * 1024,
  socketBytes: 256 * 1024,
  waitingBytes: 16 * 1024 * 1024,
  pendingRequests: 4_096,
  resumeBufferFrames: 10_000,
  resumeBufferBytes: 16 * 1024 * 1024,
  requestMs: 10_000,
  requestMaxMs: 300_000,

  // Control
  masterWaitForEdgesMs: 6_000,
  orderMs: 15_000,
  moduleStopMs: 2_000,
  moduleDrainMs: 100,
  claimMs: 30_000,
  changingQueue: 1_000,
  changingQueueMs: 5_000,
  historyEntries: 1_000,

  // Driver hosts
  deviceConnectMs: 3_000,
  deviceReconnectMinMs: 1_000,
  deviceReconnectMaxMs: 10_000,
  commandMs: 5_000,
  commandQueue: 1_000,
  receiveBufferBytes: 512 * 1024,
  driverSetupMs: 3_000,
  statusKeys: 1_000,
  logLineBytes: 10_000,
  hostBootMs: 10_000,
  hostHeartbeatMs: 500,
  hostDeadMs: 2_000,
  hostStallMs: 1_250,
  hostHeapMegabytes: 512,
  hostMemoryBytes: 768 * 1024 * 1024,
  hostPipeBytes: 16 * 1024 * 1024,
  hostRestartMinMs: 125,
  hostRestartMaxMs: 10_000,
  driverStrikes: 2,
  driverForgiveMs: 600_000,
  driverRestartMinMs: 1_000,
  driverRestartMaxMs: 60_000,
  writeJournalEntries: 100_000,

  // Store
  storeQueue: 10_000,
  storeTombstones: 100_000,
  journalPending: 10_000,

  // API
  bodyBytes: 1024 * 1024,
  listDefault: 20,
  listMax: 500,
  apiRequestsPerMinute: 6_000,
  apiHeadersMs: 10_000,
  apiRequestMs: 30_000,
  apiConnections: 4_096,
  apiStreams: 500,
  apiStreamEvents: 1_000,
  apiStreamHeartbeatMs: 15_000,
  apiStreamStalledMs: 60_000,
  apiKeyCache: 1_000,
  tokenMs: 86_400_000,
  tokenMaxMs: 366 * 86_400_000,

  // Shutdown
  shutdownStepMs: 5_000,
} as const;

export type LimitName = keyof typeof limits;
