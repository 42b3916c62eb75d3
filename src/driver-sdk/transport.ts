/**
 * A connection to one device that keeps itself up. The driver host has one kind per protocol; the harness has its own.
 */
export interface Transport {
  /** Connects, and again after every loss, until `close`. */
  open(handler: TransportHandler): void;
  /** Connected, and the last bytes were passed on. */
  readonly ready: boolean;
  /**
   * Hands bytes over if the write gate lets them: throws GATE_CLOSED, STALE_EPOCH or DEVICE_OFFLINE,
   * and nothing has left then.
   */
  write(data: Uint8Array): void;
  /** Drops the connection (the device talks nonsense) and connects anew. */
  reset(reason: string): void;
  /** For ever. Resolves when no byte can leave any more. */
  close(): Promise<void>;
}

export interface TransportHandler {
  /** The first attempt to connect has ended, well (and after `connected` then) or not. Once. */
  attempted(): void;
  connected(): void;
  disconnected(reason: string): void;
  received(chunk: Uint8Array): void;
  /** `ready` became true again after a write that filled the buffers. */
  drained(): void;
}
