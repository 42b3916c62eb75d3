import type { TestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';

/** Reporter for the test runner of Node: a line of JSON for each test that ended. */
export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of source) {
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    const { name, file, nesting, skip, todo } = event.data;
    const failed = event.type === 'test:fail' ? event.data.details.error : null;
    const cause: unknown = failed?.cause ?? failed;
    const problem = cause instanceof Error ? (cause.stack ?? cause.message) : cause === null ? null : inspect(cause);
    const left = skip !== undefined && skip !== false ? 'skipped' : todo !== undefined && todo !== false ? 'todo' : null;
    yield `${JSON.stringify({ name, file: file ?? '', nesting, left, problem })}\n`;
  }
}
