import type { Json } from '../foundation/json.ts';
import { HoldfastError } from '../model/errors.ts';

/** The operator who ended a command, and the id of their credential where it is known. */
export interface CancelledBy {
  user: string;
  who?: string | undefined;
}

/** Why a command ends that an operator cancels: the reason of its signal, and what its caller is told. */
export function commandCancelled({ user, who }: CancelledBy, fate: Json = 'unknown', options: { cause?: unknown } = {}): HoldfastError {
  return new HoldfastError('COMMAND_CANCELLED', { by: user, fate, ...(who === undefined ? {} : { who }) }, options);
}

/** null: it is not that, but a caller who has given up. */
export function operatorIn(reason: unknown): CancelledBy | null {
  if (!(reason instanceof HoldfastError) || reason.code !== 'COMMAND_CANCELLED') return null;
  const { by, who } = reason.facts;
  return isName(by) ? { user: by, who: isName(who) ? who : undefined } : null;
}

const isName = (value: unknown): value is string => typeof value === 'string' && value.length <= 200;

/** As the other node says it. undefined: that is no operator; null: there was none. */
export function readOperator(value: unknown): CancelledBy | null | undefined {
  if (value === undefined) return null;
  if (typeof value !== 'object' || value === null || !('user' in value) || !isName(value.user)) return undefined;
  const who = 'who' in value ? value.who : undefined;
  return who === undefined || isName(who) ? { user: value.user, who } : undefined;
}
