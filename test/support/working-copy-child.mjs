// Goes back and forth between two commits for ever, as a node would, until it is killed.
import { createSystemClock } from '../../dist/shared/adapters/clock/system-clock.js';
import { openWorkingCopy } from '../../dist/shared/adapters/git/working-copy.js';

const [folder, url, ...commits] = process.argv.slice(2);
const signal = new AbortController().signal;
const copy = await openWorkingCopy({ folder, repository: { url, credentials: null, branch: null, path: '' }, clock: createSystemClock() });
// One character for each step that is done.
const done = () => process.stdout.write('.');
done();
for (let i = 0; ; i += 1) {
  await copy.refresh(signal);
  done();
  const change = await copy.switchTo(commits[i % commits.length], { discard: false }, signal);
  done();
  await (i % 3 === 2 ? change.back() : change.keep());
  done();
}
