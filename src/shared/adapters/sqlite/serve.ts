import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../foundation/assert.ts';
import { HoldfastError } from '../../model/errors.ts';
import { GroupCommit } from './group-commit.ts';
import type { Answer, Call, Engine, Reply, Request } from './sql-thread.ts';
import type { Database } from './sqlite.ts';

interface Served {
  db: Database;
  engine: Engine;
}

/** The thread's side of `SqlThread`: opens the database and answers batches until told to close. */
export function serveEngine(open: (path: string, options: never) => Served): void {
  const port = parentPort;
  assert(!isMainThread && port !== null, 'an engine is served on a thread of its own');
  const reply = (message: Reply): void => port.postMessage(message);
  // Handed over by SqlThread: both ends come from the same build.
  const { path, options } = workerData as { path: string; options: never };

  let served: Served;
  try {
    served = open(path, options);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    reply({ refused: error.toJSON() });
    port.close();
    return;
  }
  const { db, engine } = served;
  const commit = new GroupCommit(db);
  port.on('message', (request: Request) => {
    if (request === 'close') {
      db.close();
      port.close();
      return;
    }
    // Reads come first: inside the transaction they would see writes that may yet fail.
    const done = request.writes.length === 0;
    if (request.reads.length > 0) reply({ answers: request.reads.map((call) => answerRead(engine, call)), done });
    if (!done) reply({ answers: answerWrites(engine, commit, request.writes), done: true });
  });
  reply({ ready: true });
}

/** The arguments were typed where the call was made (`SqlThread.write`); here they only pass through. */
function invoke(calls: Engine['reads'], { name, args }: Call): unknown {
  const call = calls[name];
  assert(call !== undefined, `the engine has no ${name}`);
  return call(...(args as never[]));
}

function answerRead(engine: Engine, call: Call): Answer {
  try {
    return { id: call.id, value: invoke(engine.reads, call) };
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    return { id: call.id, error: error.toJSON() };
  }
}

function answerWrites(engine: Engine, commit: GroupCommit, calls: Call[]): Answer[] {
  const outcomes = commit.run(calls.map((call) => () => invoke(engine.writes, call)));
  return calls.map(({ id }, i): Answer => {
    const outcome = outcomes[i];
    assert(outcome !== undefined, 'each job has an outcome');
    return 'error' in outcome ? { id, error: outcome.error.toJSON() } : { id, value: outcome.value };
  });
}
