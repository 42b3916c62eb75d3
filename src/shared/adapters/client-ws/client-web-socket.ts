import { WebSocket } from 'ws';

/** For what frames the library closes by itself. */
const brokenFrames: ReadonlyMap<number, string> = new Map([
  [1002, 'protocol-error'],
  [1007, 'not-utf-8'],
  [1008, 'too-many-fragments'],
  [1009, 'frame-too-large'],
]);

/**
 * The library closes as soon as a frame is broken, and no answer can follow its close frame. Here whoever has commands under
 * way is told instead, answers them, and calls `finish`.
 */
export class ClientWebSocket extends WebSocket {
  #stopped = false;
  onBroken: (code: number, problem: string) => void = (code) => this.finish(code, '');

  /** By the library. */
  override close(code?: number, data?: string | Buffer): void {
    const problem = code === undefined ? undefined : brokenFrames.get(code);
    if (code === undefined || problem === undefined) super.close(code, data);
    else this.onBroken(code, problem);
  }

  finish(code: number, reason: string): void {
    super.close(code, reason);
  }

  /** For good: who floods us goes on while the socket closes. Its answer to the close frame is not seen, and it is cut off. */
  stopReading(): void {
    this.#stopped = true;
    this.pause();
  }

  override resume(): void {
    if (!this.#stopped) super.resume();
  }
}
