const fixed = (value: unknown): PropertyDescriptor => ({ get: () => value, set: () => undefined });

/**
 * Of a request of Node that is being made: nothing more of its connection is read as HTTP. One packet holds thousands of requests,
 * and to read them costs what to answer them costs. The parser leaves alone what follows a CONNECT; nothing else makes it stop.
 * What becomes of the connection is up to the listeners of `connect`; without one it is cut off.
 */
export function readNoFurther(request: object): void {
  Object.defineProperties(request, { method: fixed('CONNECT'), upgrade: fixed(true) });
}
