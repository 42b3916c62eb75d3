import { runningModule } from '../driver-sdk/module.ts';

/**
 * Timers that a driver sets by itself run its code without anybody being told: the watchdog would take whoever was
 * told last for the one that loops, or that fills the memory.
 */
export function watchTimers(): void {
  const entering = (callback: unknown): unknown => {
    // What is no function is for Node to refuse.
    if (typeof callback !== 'function') return callback;
    return (...args: unknown[]): unknown => {
      runningModule()?.entered();
      return Reflect.apply(callback, undefined, args);
    };
  };
  // A proxy, for `util.promisify` finds more than a function there.
  const told = <T extends (...args: never[]) => unknown>(timer: T): T =>
    new Proxy(timer, { apply: (target, self: unknown, [callback, ...rest]: unknown[]): unknown => Reflect.apply(target, self, [entering(callback), ...rest]) });
  globalThis.setTimeout = told(globalThis.setTimeout);
  globalThis.setInterval = told(globalThis.setInterval);
  globalThis.setImmediate = told(globalThis.setImmediate);
}
