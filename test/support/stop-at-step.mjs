import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';

/*
 * Loaded into a server before its own code (`NODE_OPTIONS=--import`): ends or stops the process right after the n-th
 * line that it logs about control, and so exactly between two steps. Such lines are written at once, and a signal
 * that a process sends itself arrives before the next line of its code.
 * A file in its data directory orders it: `{"location": "berlin", "signal": "SIGKILL", "step": 3}`; it is gone once it was carried out.
 */
const data = process.env.HOLDFAST_DATA;
if (isMainThread && data !== undefined) {
  const order = join(data, 'stop-at-step.json');
  const write = fs.writeSync;
  let seen = 0;
  fs.writeSync = (fd, text, ...rest) => {
    const written = write(fd, text, ...rest);
    // What waited for it comes along before it.
    const line = typeof text === 'string' ? text.trimEnd().slice(text.trimEnd().lastIndexOf('\n') + 1) : '';
    if (fd === 1 && isStep(line)) onStep(JSON.parse(line));
    return written;
  };
  syncBuiltinESMExports();

  // Stored, sent, moved. Leases are renewed at their own pace: that is no step of a hand-back.
  function isStep(line) {
    return /"event":"control(-stored|-sent)?"/.test(line) && !line.includes('renewed') && !line.includes('"control.renew"');
  }

  function onStep(line) {
    if (!fs.existsSync(order)) {
      seen = 0;
      return;
    }
    const { location, signal, step } = JSON.parse(fs.readFileSync(order, 'utf8'));
    if (line.location !== location) return;
    seen += 1;
    if (seen < step) return;
    fs.rmSync(order);
    seen = 0;
    process.kill(process.pid, signal);
  }
}
