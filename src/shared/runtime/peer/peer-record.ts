import { HoldfastError } from '../../model/errors.ts';
import { recordedAs } from '../../model/events.ts';

/** How a request that came over a link ended, for its record here. */
export const codeOf = (error: unknown): string => (error instanceof HoldfastError ? error.code : 'INTERNAL');

/** The word of its record when it failed. */
export const wordFor = <W extends 'audit' | 'command'>(word: W, error: unknown): W | 'refused' =>
  error instanceof HoldfastError ? recordedAs(word, error.status) : word;
