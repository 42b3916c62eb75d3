import type { Epoch } from '../shared/model/control.ts';
import type { Machine } from './machine.ts';
import type { SimRandom } from './random.ts';
import type { Timeline } from './timeline.ts';

/** A write as a device saw it, with what its writer was allowed at that moment. */
export interface SeenWrite {
  location: string;
  module: string;
  machine: Machine;
  epoch: Epoch;
  gate: { epoch: Epoch; open: boolean; leaseUntilMs: number | null };
}

export interface DeviceSocket {
  open: boolean;
  readonly machine: Machine;
  /** The device was reset or lost its power. */
  lost(): void;
}

/** A switchgear, a projector: takes writes over its connections, of which it may have only one. */
class Device {
  readonly location: string;
  readonly module: string;
  readonly single: boolean;
  readonly sockets = new Set<DeviceSocket>();
  dead = false;
  answerMs: number;
  connects = 0;

  constructor(options: { location: string; module: string; single: boolean; answerMs: number }) {
    this.location = options.location;
    this.module = options.module;
    this.single = options.single;
    this.answerMs = options.answerMs;
  }

  die(): void {
    this.dead = true;
    for (const socket of this.sockets) {
      socket.open = false;
      socket.lost();
    }
    this.sockets.clear();
  }
}

const HALF_OPEN_MS = 10_000;

/** Everything that is driven, and from where it can be reached. */
export class DeviceWorld {
  readonly timeline: Timeline;
  readonly random: SimRandom;
  readonly #devices = new Map<string, Device>();
  /** Locations whose devices a machine cannot reach, as `machine/location`. */
  readonly #unreachable = new Set<string>();
  readonly onWrite: (write: SeenWrite) => void;

  constructor(timeline: Timeline, random: SimRandom, onWrite: (write: SeenWrite) => void) {
    this.timeline = timeline;
    this.random = random;
    this.onWrite = onWrite;
  }

  add(location: string, module: string, single: boolean): void {
    this.#devices.set(module, new Device({ location, module, single, answerMs: this.random.between(2, 40) }));
  }

  get(module: string): Device | null {
    return this.#devices.get(module) ?? null;
  }

  of(location: string): Device[] {
    return [...this.#devices.values()].filter((device) => device.location === location);
  }

  all(): Device[] {
    return [...this.#devices.values()];
  }

  setReachable(machine: Machine, location: string, reachable: boolean): void {
    const key = `${machine.name}/${location}`;
    if (reachable) this.#unreachable.delete(key);
    else this.#unreachable.add(key);
  }

  reachAll(): void {
    this.#unreachable.clear();
  }

  /** A TCP connect; null: refused or nobody answered. */
  connect(device: Device, socket: DeviceSocket): boolean {
    const unreachable = this.#unreachable.has(`${socket.machine.name}/${device.location}`);
    if (device.dead || unreachable || (device.single && device.sockets.size > 0)) return false;
    device.sockets.add(socket);
    device.connects += 1;
    return true;
  }

  disconnect(device: Device, socket: DeviceSocket): void {
    socket.open = false;
    device.sockets.delete(socket);
  }

  /** The power of a machine went: its devices find out late. */
  vanished(machine: Machine): void {
    for (const device of this.#devices.values()) {
      for (const socket of device.sockets) {
        if (socket.machine !== machine) continue;
        socket.open = false;
        this.timeline.after(HALF_OPEN_MS, () => device.sockets.delete(socket));
      }
    }
  }
}
