/** Everything that a driver may import. */
export { type AfterTimeout, type Reply, type SendOptions, type Verdict } from './command-queue.ts';
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
  type SendData,
  type TransportKind,
} from './driver.ts';
export { type FakeMethods } from './fake-system.ts';
export { createHarness, type Harness, type HarnessOptions } from './harness.ts';
export { type HttpRequest, type HttpResponse } from './http.ts';
export { latest } from './latest.ts';
export { type ManualAnswer } from './manual-http.ts';
export { type Schedule } from './schedule.ts';
export { type SystemModule, type SystemOfModule } from './system.ts';
export { callback, delimiter, lengthPrefix, type Tokeniser, TokeniserError } from './tokeniser.ts';
/** The values that methods, status and hand-over state are made of. */
export { type Json } from '../shared/foundation/json.ts';
/** For what the device refuses (`DEVICE_REFUSED`), or its user gave wrongly (`INPUT_INVALID`). Anything else that is thrown is `DRIVER_FAILED`. */
export { HoldfastError } from '../shared/model/errors.ts';
/** The schemas of settings and arguments: a driver needs no package of its own for them. */
export { z } from 'zod';
