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
  type TransportKind,
} from './driver.ts';
export { createHarness, type Harness } from './harness.ts';
export { type HttpRequest, type HttpResponse } from './http.ts';
export { type Schedule } from './schedule.ts';
export { type SystemModule, type SystemOfModule } from './system.ts';
export { callback, delimiter, lengthPrefix, type Tokeniser, TokeniserError } from './tokeniser.ts';
/** The schemas of settings and arguments: a driver needs no package of its own for them. */
export { z } from 'zod';
