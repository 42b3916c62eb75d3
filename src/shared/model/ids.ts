import { z } from 'zod';

/** Ids of documents: `edge-…`, `sys-…`, `mod-…`: letters, digits, `_`, `.`, `-`; at most 120 characters. */
export const idSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,119}$/, 'must be 1 to 120 letters, digits, dots, dashes or underscores, and start with a letter or digit');

/** The location of modules that no edge document lists: they belong to the master. */
export const MASTER_LOCATION = 'master';
