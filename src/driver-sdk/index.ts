/** Everything that a driver may import. */
export { type Reply, type SendOptions, type Verdict } from './command-queue.ts';
export {
  defineDriver,
  type Driver,
  type DriverContext,
  type DriverDefinition,
  type DriverRole,
  type EventHandlers,
  method,
  type Method,
  type Methods,
} from './driver.ts';
export { createHarness, type Harness } from './harness.ts';
export { callback, delimiter, lengthPrefix, type Tokeniser, TokeniserError } from './tokeniser.ts';
