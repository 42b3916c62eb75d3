import { Worker } from 'node:worker_threads';
import { THROWN, thrownText } from './json-reporter.ts';

/** Comes before each test file. */

// A test that ended its process in good order would take those after it with it, and nobody would miss them.
process.exit = (code) => {
  throw new Error(`process.exit(${code ?? ''}) was called`);
};

// Of what is thrown outside of any test the runner says that there was something, and not what.
process.on('uncaughtExceptionMonitor', (error: unknown) => process.stderr.write(`\n${THROWN}${JSON.stringify(thrownText(error))}\n`));

// Also the test runner itself comes here. It waits for its files, and needs no limit.
if (process.env['NODE_TEST_CONTEXT'] !== undefined) {
  const timeoutMs = Number(new URL(import.meta.url).searchParams.get('timeoutMs'));
  new Worker(new URL('./test-watchdog.js', import.meta.url), { workerData: timeoutMs, execArgv: [] }).unref();
}
