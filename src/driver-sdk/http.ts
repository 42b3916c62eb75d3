import type { Connection } from './transport.ts';

export interface HttpRequest {
  /** Path and query below the address of the module; it cannot lead to another host. */
  path: string;
  /** `GET` unless told. */
  method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  /** For all of it, answer included; 5 s unless told. */
  timeoutMs?: number;
}

/** Any answer of the service, also 4xx, 5xx and redirects, which are not followed. */
export interface HttpResponse {
  status: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: Buffer;
}

/** On whose behalf a request is made. */
export interface HttpCaller {
  /** Aborts, with the error, when the caller gives up. */
  signal: AbortSignal;
  /** Called right before the request leaves. */
  left(): void;
}

/** HTTP to one service. Connects when asked something and keeps the connection for the next request. */
export interface HttpService extends Connection {
  /**
   * Rejects with GATE_CLOSED or STALE_EPOCH (nothing has left), DEVICE_OFFLINE, DEVICE_LOST, DEVICE_REFUSED
   * (certificate, size), DEADLINE, CANCELLED, QUEUE_FULL, or INPUT_INVALID. `caller` null: the driver by itself.
   */
  request(request: HttpRequest, caller: HttpCaller | null): Promise<HttpResponse>;
}
