import { destination, type Logger, pino } from 'pino';
import { HoldfastError } from '../../model/errors.ts';
import type { Log } from '../../ports/log.ts';

export interface PinoLogOptions {
  level: 'debug' | 'info' | 'warn' | 'error';
  /** File descriptor: 1 is standard output, 2 standard error. */
  fd: 1 | 2;
  base: object;
}

/** JSON lines: time, level, a stable event word, facts. Written synchronously, so that a crash loses no line. */
export function createPinoLog({ level, fd, base }: PinoLogOptions): Log {
  const logger = pino(
    {
      level,
      base,
      messageKey: 'event',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: serializeError },
    },
    destination({ fd, sync: true }),
  );
  return wrap(logger);
}

function wrap(logger: Logger): Log {
  return {
    debug: (event, facts) => logger.debug(facts ?? {}, event),
    info: (event, facts) => logger.info(facts ?? {}, event),
    warn: (event, facts) => logger.warn(facts ?? {}, event),
    error: (event, facts) => logger.error(facts ?? {}, event),
    child: (facts) => wrap(logger.child(facts)),
  };
}

/** An operating error is its code and facts; anything else is a bug and shows where it came from. */
function serializeError(error: unknown): object {
  if (error instanceof HoldfastError) return error.toJSON();
  if (error instanceof Error) return { name: error.name, message: error.message, stack: error.stack };
  return { message: String(error) };
}
