/** A request to somebody else's server. */
export interface WebhookRequest {
  url: string;
  headers: Readonly<Record<string, string>>;
  /** JSON. */
  body: string;
}

export interface Webhooks {
  /**
   * POSTs once and resolves with the status of the answer, whose body is not read. A redirect is an answer: it is never
   * followed, for whoever gets our secrets was named by an administrator. Rejects when there is no answer; nothing that it
   * throws names more of the URL than its host.
   */
  post(request: WebhookRequest, signal: AbortSignal): Promise<number>;
}
