import { HoldfastError } from '../shared/model/errors.ts';

/**
 * For a command with a name, which newer ones replace while they wait: whoever asked for it is answered by the one
 * that took its place, and does not fail with COMMAND_REPLACED for what was done after all.
 */
export function latest<T>(ask: () => Promise<T>): () => Promise<T> {
  let newest: Promise<T> | null = null;
  return () => {
    const answered: Promise<T> = ask().catch((error: unknown) => {
      const replaced = error instanceof HoldfastError && error.code === 'COMMAND_REPLACED';
      if (replaced && newest !== null && newest !== answered) return newest;
      throw error;
    });
    newest = answered;
    return answered;
  };
}
