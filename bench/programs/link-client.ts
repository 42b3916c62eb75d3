import { endWithParent, tell } from '../support/child.ts';
import { connectEdge } from '../support/link-ends.ts';
import { measure } from '../support/load.ts';
import { command } from '../support/payload.ts';

endWithParent();
const [enrolment = '', callers = '1'] = process.argv.slice(2);
const link = await connectEdge(enrolment);
const newCaller = (): (() => Promise<unknown>) => {
  const { signal } = new AbortController();
  return () => link.request('exec', command, { signal, timeoutMs: 10_000 });
};
tell(await measure(Number(callers), newCaller));
