import type { TestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';

/** Begins a line that a test file says when something is thrown outside of its tests. */
export const THROWN = 'holdfast-thrown ';

/** The last that a file said: why its process ended stands at the end. */
const SAID = 4_000;

type Ended = Extract<TestEvent, { type: 'test:pass' | 'test:fail' }>;

/** Reporter for the test runner of Node: a line of JSON for each test that ended. */
export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const said = new Map<string, string>();
  let last = 0;
  for await (const event of source) {
    if (event.type === 'test:stderr') {
      const { file, message } = event.data;
      said.set(file, (said.get(file) ?? '') + message);
    }
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    const { name, file, nesting, skip, todo } = event.data;
    const left = isSet(skip) ? 'skipped' : isSet(todo) ? 'todo' : null;
    const problem = problemOf(event, said.get(name) ?? '');
    const suite = event.data.details.type === 'suite';
    // What is within comes before what it is in.
    const full = last > nesting;
    last = nesting;
    // A suite is no test: those in it have spoken for themselves.
    if (suite && full && problem === null) continue;
    const empty = suite && !full && left === null ? 'it has no tests' : null;
    yield `${JSON.stringify({ name, file: file ?? '', left, problem: problem ?? empty })}\n`;
  }
}

const isSet = (directive: string | boolean | undefined): boolean => directive !== undefined && directive !== false;

/** Why it failed, by its own fault; null: it did not. */
function problemOf(event: Ended, said: string): string | null {
  if (event.type === 'test:pass') return null;
  const { type, error } = event.data.details;
  if (type === 'suite' && 'failureType' in error && error.failureType === 'subtestsFailed') return null;
  if ('failureType' in error && error.failureType === 'cancelledByParent') return stuckAt(event);
  if (!('exitCode' in error)) return thrownText(error.cause ?? error);
  // The process of a whole file.
  const thrown = said.split('\n').filter((line) => line.startsWith(THROWN)).map((line): unknown => JSON.parse(line.slice(THROWN.length)));
  if (thrown.length > 0) return thrown.join('\n');
  const how = 'signal' in error && typeof error.signal === 'string' ? `by ${error.signal}` : `with exit code ${String(error.exitCode)}`;
  return `its process ended ${how}\n${said.slice(-SAID)}`.trim();
}

/** Nothing was thrown: of such a test the runner says where it begins. */
function stuckAt({ data: { file = '', line = 0, column = 0 } }: Ended): string {
  return `it waits for what never comes, such as an answer that does not fit, or a test before it does\n    at ${file}:${line}:${column}`;
}

/** Where it was thrown is in it, if whoever threw it has left that. */
export const thrownText = (thrown: unknown): string =>
  thrown instanceof Error ? (thrown.stack ?? thrown.message) : typeof thrown === 'string' ? thrown : inspect(thrown);
