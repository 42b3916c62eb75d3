import type { Clock } from '../shared/ports/clock.ts';
import type { Log } from '../shared/ports/log.ts';
import type { Random } from '../shared/ports/random.ts';
import type { Connection, LinkDialler } from '../shared/ports/transport.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';

export interface DialLoopOptions {
  clock: Clock;
  random: Random;
  log: Log;
  dialler: LinkDialler;
  addresses: readonly string[];
  /** A proved connection. Resolves when it is gone, with whether a negotiation had succeeded on it. */
  use(connection: Connection): Promise<{ negotiated: boolean }>;
  /** An attempt failed: nobody answered. */
  failed(): void;
  /** Why a master that answered refused us, or we it; null: one took us. */
  refused?(reason: string | null): void;
}

/** A link that lived shorter is not redialled at once: something closes it, and asking faster does not help. */
const STEADY_MS = 2_000;

/** Dials the masters for ever: the last good address first, then the others in random order. Never slower. */
export async function dialLoop(options: DialLoopOptions, signal: AbortSignal): Promise<void> {
  const { clock, random, log } = options;
  let lastGood: string | null = null;
  for (let attempt = 1; !signal.aborted; attempt += 1) {
    const reached = await dialAny(options, lastGood, signal);
    if (reached !== null) {
      lastGood = reached.address;
      const fromMs = clock.monotonicMs();
      const { negotiated } = await options.use(reached.connection);
      if (negotiated) attempt = 0;
      if (negotiated && clock.monotonicMs() - fromMs >= STEADY_MS) continue;
    } else if (!signal.aborted) {
      options.failed();
    }
    const delayMs = Math.round(limits.redialMinMs + random.next() * (limits.redialMaxMs - limits.redialMinMs));
    if (!signal.aborted) log.info('redial', { attempt, delayMs });
    await clock.sleep(delayMs, signal).catch(() => undefined);
  }
}

const reasonOf = ({ facts: { reason } }: HoldfastError): string => (typeof reason === 'string' ? reason : 'refused');

/** One attempt over all addresses, within `dialAttemptMs` in total. */
async function dialAny(
  options: DialLoopOptions,
  lastGood: string | null,
  signal: AbortSignal,
): Promise<{ address: string; connection: Connection } | null> {
  const { clock, random, log, dialler } = options;
  const others = options.addresses.filter((address) => address !== lastGood);
  const shuffled = others.map((address) => ({ address, draw: random.next() })).sort((a, b) => a.draw - b.draw);
  const addresses = [...(lastGood === null ? [] : [lastGood]), ...shuffled.map(({ address }) => address)];
  for (const address of addresses) {
    const deadline = new AbortController();
    const timer = clock.after(limits.dialAttemptMs / addresses.length, () => {
      deadline.abort(new HoldfastError('DEADLINE', { fate: 'not-sent' }));
    });
    try {
      const connection = await dialler.dial(address, AbortSignal.any([signal, deadline.signal]));
      options.refused?.(null);
      return { address, connection };
    } catch (error) {
      if (signal.aborted) return null;
      if (error instanceof HoldfastError && error.code === 'LINK_REFUSED') options.refused?.(reasonOf(error));
      log.warn('dial-failed', { address, error });
    } finally {
      timer.cancel();
    }
  }
  return null;
}
