import type { TestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';

/** The last that a file said: why it could not be run stands at the end. */
const SAID = 4_000;

/** Reporter for the test runner of Node: a line of JSON for each test that ended. */
export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const said = new Map<string, string>();
  for await (const event of source) {
    if (event.type === 'test:stderr') {
      const { file, message } = event.data;
      said.set(file, `${said.get(file) ?? ''}${message}`.slice(-SAID));
    }
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    const { name, file, skip, todo } = event.data;
    const failed = event.type === 'test:fail' ? event.data.details.error : null;
    // A suite is no test, and those in it have spoken for themselves. It counts if it failed by its own code.
    if (event.data.details.type === 'suite' && (failed === null || ('failureType' in failed && failed.failureType === 'subtestsFailed'))) continue;
    const cause: unknown = failed?.cause ?? failed;
    const thrown = cause instanceof Error ? (cause.stack ?? cause.message) : cause === null ? null : inspect(cause);
    // Of a file that failed before its tests the runner knows only that: what it said tells why.
    const problem = thrown === null ? null : (said.get(name)?.trim() ?? thrown);
    const left = skip !== undefined && skip !== false ? 'skipped' : todo !== undefined && todo !== false ? 'todo' : null;
    yield `${JSON.stringify({ name, file: file ?? '', left, problem })}\n`;
  }
}
