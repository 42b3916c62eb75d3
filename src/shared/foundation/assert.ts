/** A programmer error. Nothing may catch it and go on: the process ends and its supervisor starts a clean one. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/** Crashes loudly when an invariant of the program itself is broken. Bad input is never a reason to call this. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Marks a branch that the types rule out. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${JSON.stringify(value)}`);
}
