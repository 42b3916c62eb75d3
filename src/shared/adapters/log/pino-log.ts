import { destination, type Logger, pino } from 'pino';
import { HoldfastError } from '../../model/errors.ts';
import type { Log } from '../../ports/log.ts';

export interface PinoLogOptions {
  level: 'debug' | 'info' | 'warn' | 'error';
  /** File descriptor: 1 is standard output, 2 standard error. */
  fd: 1 | 2;
  base: object;
}

/** Lines that wait are written when they are so many bytes, at the latest. */
const GATHER_BYTES = 8_192;

/** One for each command: written together so often. */
const GATHERED = 'audit';
const GATHER_MS = 10;

/**
 * JSON lines: time, level, a stable event word, facts. Written synchronously, before the code that follows: what was stored,
 * sent and moved is on record also when the process is killed. Only audit lines may wait, for the next line or for 10 ms.
 */
export function createPinoLog({ level, fd, base }: PinoLogOptions): Log {
  const output = destination({ fd, sync: true, minLength: GATHER_BYTES });
  process.on('exit', () => output.flushSync());
  let waiting: NodeJS.Timeout | null = null;
  const flush = (): void => {
    if (waiting !== null) clearTimeout(waiting);
    waiting = null;
    // Not `flushSync`, which also makes the disk sync.
    output.flush();
  };
  const gather = (): void => {
    waiting ??= setTimeout(flush, GATHER_MS);
  };
  const logger = pino(
    {
      level,
      base,
      messageKey: 'event',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: serializeError },
    },
    output,
  );
  return wrap(logger, { gather, flush });
}

function wrap(logger: Logger, written: { gather(): void; flush(): void }): Log {
  const at = (level: 'debug' | 'info' | 'warn' | 'error') => (event: string, facts?: object) => {
    if (!logger.isLevelEnabled(level)) return;
    logger[level](facts ?? {}, event);
    if (event === GATHERED) written.gather();
    else written.flush();
  };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (facts) => wrap(logger.child(facts), written),
  };
}

/** An operating error is its code and facts; anything else is a bug and shows where it came from. */
function serializeError(error: unknown): object {
  if (error instanceof HoldfastError) return error.toJSON();
  if (error instanceof Error) return { name: error.name, message: error.message, stack: error.stack };
  return { message: String(error) };
}
