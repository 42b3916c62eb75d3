import { z } from 'zod';
import { jsonValueSchema } from '../../client-api/parse.ts';
import type { Json } from '../../foundation/json.ts';
import { type Epoch, revisionSchema } from '../../model/control.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { StatusReport } from '../../ports/device-link.ts';
import type { PeerLink } from '../peer/peer-link.ts';

const statusBodySchema = z.strictObject({ module: z.string().max(120), key: z.string().max(200), value: jsonValueSchema, revision: revisionSchema });

/** A status value on its way to the other node; a newer one of the same variable replaces it while it waits. */
export function sendStatus(peer: PeerLink, { module, key, value, revision, epoch }: StatusReport): void {
  peer.post('status', { module, key, value, revision: [...revision] }, { epoch, conflateKey: `${module}\n${key}` });
}

/** What the other node reported of this link's location. */
export function readStatus(location: string, body: Json, epoch: Epoch): StatusReport {
  const parsed = statusBodySchema.safeParse(body);
  if (!parsed.success) throw new HoldfastError('INPUT_INVALID', { field: 'status', problem: parsed.error.issues[0]?.message ?? 'invalid' });
  return { location, ...parsed.data, epoch };
}
