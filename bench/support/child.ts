import { once } from 'node:events';

/** The side of a program that was started by `Program`. */
export function tell(message: object): void {
  process.send?.(message);
}

/** The next message of whoever started it. */
export async function hear<T>(): Promise<T> {
  const [message] = await once(process, 'message');
  return message as T;
}

/** Ends this process when whoever started it is done with it. */
export function endWithParent(): void {
  process.on('disconnect', () => process.exit(0));
}
