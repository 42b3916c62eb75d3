import type { Json } from '../shared/foundation/json.ts';
import { limits } from '../shared/model/limits.ts';
import type { Epoch } from '../shared/model/control.ts';
import type { ModuleLogLine } from '../shared/ports/device-link.ts';
import type { FromHost } from '../shared/runtime/driver-hosts/messages.ts';

/** The node does not keep up when this much waits for it. */
const CONGESTED = limits.hostPipeBytes / 4;

export interface HostPipe {
  send(message: FromHost): void;
  bufferedBytes(): number;
}

/**
 * Status and log lines on their way to the node. When it is slow the last value of each variable waits,
 * and log lines are counted.
 */
export class Reporter {
  readonly #pipe: HostPipe;
  readonly #waiting = new Map<string, Extract<FromHost, { t: 'status' }>>();
  #lostLines = 0;

  constructor(pipe: HostPipe) {
    this.#pipe = pipe;
  }

  status(source: { location: string; module: string; epoch: Epoch }, key: string, value: Json): void {
    const { location, module, epoch } = source;
    const message = { t: 'status' as const, location, module, key, value, epoch };
    // Once one waits all do: an older value must not overtake a newer one.
    if (this.#waiting.size > 0 || this.#congested()) this.#waiting.set(`${location}/${module}/${key}`, message);
    else this.#pipe.send(message);
  }

  log(line: ModuleLogLine): void {
    if (this.#congested()) this.#lostLines += 1;
    else this.#pipe.send({ t: 'log', ...line });
  }

  drained(): void {
    for (const [key, message] of this.#waiting) {
      if (this.#congested()) return;
      this.#waiting.delete(key);
      this.#pipe.send(message);
    }
    if (this.#lostLines === 0) return;
    const message = `${this.#lostLines} log lines of drivers were dropped`;
    this.#pipe.send({ t: 'log', location: '', module: '', level: 'warn', message });
    this.#lostLines = 0;
  }

  #congested(): boolean {
    return this.#pipe.bufferedBytes() > CONGESTED;
  }
}
