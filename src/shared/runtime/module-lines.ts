import type { DeviceLink, ModuleLogLine } from '../ports/device-link.ts';
import type { Target } from './directory.ts';
import type { PeerSubscriptions } from './peer-subscriptions.ts';

export interface ModuleLine extends ModuleLogLine {
  /** Id of the node whose driver said it. */
  node: string;
}

export interface ModuleLinesOptions {
  nodeId: string;
  deviceLink: Pick<DeviceLink, 'onLog'>;
  /** The other node that may drive modules of this location, or knows who does. */
  peerOf(location: string): PeerSubscriptions | null;
}

type Listener = (line: ModuleLine) => void;

/** Log lines of modules. They come from whoever drives; everybody who may is asked, so that they go on when control moves. */
export class ModuleLines {
  readonly #options: ModuleLinesOptions;
  readonly #listeners = new Map<string, Set<Listener>>();

  constructor(options: ModuleLinesOptions) {
    this.#options = options;
  }

  /** Returns the way to stop. `everywhere` false: for a peer, which asks the others itself. */
  listen(target: Target, listener: Listener, everywhere = true): () => void {
    const { deviceLink, nodeId, peerOf } = this.#options;
    const stopOwn = deviceLink.onLog((line) => {
      if (line.module === target.module && line.location === target.location) listener({ ...line, node: nodeId });
    });
    if (!everywhere) return stopOwn;
    const key = keyOf(target);
    const listeners = this.#listeners.get(key) ?? new Set();
    this.#listeners.set(key, listeners.add(listener));
    const letGo = peerOf(target.location)?.hold('debug', target);
    return () => {
      stopOwn();
      letGo?.();
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(key) === listeners) this.#listeners.delete(key);
    };
  }

  /** A peer has told it. */
  heard(line: ModuleLine): void {
    for (const listener of this.#listeners.get(keyOf(line)) ?? []) listener(line);
  }
}

const keyOf = ({ location, module }: Target): string => `${location}\n${module}`;
