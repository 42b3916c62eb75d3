import { destination, type Logger, pino } from 'pino';
import { HoldfastError } from '../../model/errors.ts';
import type { Log } from '../../ports/log.ts';

export interface PinoLogOptions {
  level: 'debug' | 'info' | 'warn' | 'error';
  /** File descriptor: 1 is standard output, 2 standard error. */
  fd: 1 | 2;
  base: object;
}

/** Lines that wait are written when they have so many characters, at the latest. */
const GATHERED_LENGTH = 32_768;

/** One for each command: written together so often. */
const GATHERED: ReadonlySet<string> = new Set(['audit', 'command', 'command-served', 'refused']);
const GATHER_MS = 10;

/**
 * JSON lines: time, level, a stable event word, facts. Written synchronously, before the code that follows: what was stored,
 * sent and moved is on record also when the process is killed. Only lines of audit and commands may wait, for the next line or for 10 ms.
 */
export function createPinoLog({ level, fd, base }: PinoLogOptions): Log {
  const lines = new GatheredLines(destination({ fd, sync: true }));
  process.on('exit', () => lines.end());
  const logger = pino(
    {
      level,
      base,
      messageKey: 'event',
      timestamp: timeField(),
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: serializeError },
    },
    lines,
  );
  return wrap(logger, lines);
}

/** Lines on their way to the output. Joined here and not there, where each line that waits has all before it measured again. */
class GatheredLines {
  readonly #output: ReturnType<typeof destination>;
  #waiting: string[] = [];
  #length = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(output: ReturnType<typeof destination>) {
    this.#output = output;
  }

  /** Called by the logger, which knows nothing of `gather` and `flush`: one of them follows. */
  write(line: string): void {
    this.#waiting.push(line);
    this.#length += line.length;
  }

  gather(): void {
    if (this.#length >= GATHERED_LENGTH) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), GATHER_MS);
  }

  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#waiting.length === 0) return;
    const text = this.#waiting.join('');
    this.#waiting = [];
    this.#length = 0;
    this.#output.write(text);
  }

  end(): void {
    this.flush();
    this.#output.flushSync();
  }
}

function wrap(logger: Logger, lines: GatheredLines): Log {
  const at = (level: 'debug' | 'info' | 'warn' | 'error') => (event: string, facts?: object) => {
    if (!logger.isLevelEnabled(level)) return;
    logger[level](facts ?? {}, event);
    if (GATHERED.has(event)) lines.gather();
    else lines.flush();
  };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (facts) => wrap(logger.child(facts), lines),
  };
}

/** The field of the time, whose text is made once for all lines of a millisecond. */
function timeField(): () => string {
  let madeMs = 0;
  let field = '';
  return () => {
    const nowMs = Date.now();
    if (nowMs !== madeMs) field = `,"time":"${new Date(nowMs).toISOString()}"`;
    madeMs = nowMs;
    return field;
  };
}

/** An operating error is its code and facts; anything else is a bug and shows where it came from. */
function serializeError(error: unknown): object {
  if (error instanceof HoldfastError) return error.toJSON();
  if (error instanceof Error) return { name: error.name, message: error.message, stack: error.stack };
  return { message: String(error) };
}
