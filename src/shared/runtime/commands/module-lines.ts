import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { DeviceLink, ModuleLogLine } from '../../ports/device-link.ts';
import type { Target } from '../documents/directory.ts';
import type { PeerSubscriptions } from '../peer/peer-subscriptions.ts';

export interface ModuleLine extends ModuleLogLine {
  /** Id of the node whose driver said it. */
  node: string;
}

export interface ModuleLinesOptions {
  nodeId: string;
  clock: Clock;
  deviceLink: Pick<DeviceLink, 'onLog'>;
  /** The other node that may drive modules of this location, or knows who does. */
  peerOf(location: string): PeerSubscriptions | null;
  /** The lines of this location come from there now, and the link is up. */
  isElsewhere(location: string): boolean;
}

export interface Listening {
  /** Whoever drives the module tells its lines from now on; at the latest after `debugAnswerMs`. */
  placed: Promise<void>;
  stop(): void;
}

type Listener = (line: ModuleLine) => void;

/** Log lines of modules. They come from whoever drives; everybody who may is asked, so that they go on when control moves. */
export class ModuleLines {
  readonly #options: ModuleLinesOptions;
  readonly #listeners = new Map<string, Set<Listener>>();

  constructor(options: ModuleLinesOptions) {
    this.#options = options;
  }

  /** `everywhere` false: for a peer, which asks the others itself. */
  listen(target: Target, listener: Listener, everywhere = true): Listening {
    const { deviceLink, nodeId } = this.#options;
    const stopOwn = deviceLink.onLog((line) => {
      if (line.module === target.module && line.location === target.location) listener({ ...line, node: nodeId });
    });
    if (!everywhere) return { placed: Promise.resolve(), stop: stopOwn };
    const key = keyOf(target);
    const listeners = this.#listeners.get(key) ?? new Set();
    this.#listeners.set(key, listeners.add(listener));
    const { placed, stop } = this.#hold(target);
    return {
      placed,
      stop: () => {
        stopOwn();
        stop();
        listeners.delete(listener);
        if (listeners.size === 0 && this.#listeners.get(key) === listeners) this.#listeners.delete(key);
      },
    };
  }

  #hold(target: Target): Listening {
    const { clock, isElsewhere, peerOf } = this.#options;
    let stop = (): void => undefined;
    const answered = new Promise<void>((resolve) => {
      stop = peerOf(target.location)?.hold('debug', target, resolve) ?? stop;
    });
    if (!isElsewhere(target.location)) return { placed: Promise.resolve(), stop };
    return { placed: atMost(clock, limits.debugAnswerMs, answered), stop };
  }

  /** A peer has told it. */
  heard(line: ModuleLine): void {
    for (const listener of this.#listeners.get(keyOf(line)) ?? []) listener(line);
  }
}

function atMost(clock: Clock, ms: number, done: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.after(ms, resolve);
    void done.then(() => {
      timer.cancel();
      resolve();
    });
  });
}

const keyOf = ({ location, module }: Target): string => `${location}\n${module}`;
