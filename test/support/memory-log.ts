import type { Log } from '../../src/shared/ports/log.ts';

export interface LogLine {
  level: 'debug' | 'info' | 'warn' | 'error';
  event: string;
  facts: object;
}

/** Keeps every line, for tests that judge what was logged and what must never be. */
export function createMemoryLog(): Log & { lines: LogLine[]; text(): string } {
  const lines: LogLine[] = [];
  const log = (base: object): Log => {
    const at = (level: LogLine['level']) => (event: string, facts: object = {}) => {
      lines.push({ level, event, facts: { ...base, ...facts } });
    };
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), child: (facts) => log({ ...base, ...facts }) };
  };
  return { ...log({}), lines, text: () => JSON.stringify(lines) };
}
