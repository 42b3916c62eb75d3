import { Canceller } from '../../src/shared/foundation/cancel.ts';
import { endWithParent, tell } from '../support/child.ts';
import { connectEdge } from '../support/link-ends.ts';
import { measure } from '../support/load.ts';
import { command } from '../support/payload.ts';

endWithParent();
const [enrolment = '', callers = '1'] = process.argv.slice(2);
const link = await connectEdge(enrolment);
// Each command has a signal of its own, as those of clients have.
const call = (): Promise<unknown> => link.request('exec', command, { signal: new Canceller().signal, timeoutMs: 10_000 });
tell(await measure(Number(callers), () => call));
