/** Calls under way at a time: more would time out in the queue of the SDK. */
const WIDTH = 128;

/** Does something with each item, many side by side. Throws what the first that fails throws, after those under way. */
export async function inParallel<T, R>(items: Iterable<T>, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const iterator = items[Symbol.iterator]();
  let index = 0;
  let failure: { error: unknown } | null = null;
  const worker = async (): Promise<void> => {
    while (failure === null) {
      const next = iterator.next();
      if (next.done === true) return;
      const at = index;
      index += 1;
      try {
        results[at] = await work(next.value);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: WIDTH }, worker));
  // Asked of the workers, which the compiler does not see.
  const failed = failure as { error: unknown } | null;
  if (failed !== null) throw failed.error;
  return results;
}
