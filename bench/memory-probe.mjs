import { Session } from 'node:inspector';
import { isMainThread } from 'node:worker_threads';

/*
 * Loaded into each thread of the server under measurement: SIGUSR2 makes all of them collect their garbage, and the main thread say how much
 * memory its heap has. What is collected is what V8 collects when memory is short: the young generation shrinks as well, and free pages go back.
 */
const session = new Session();
session.connect();
const collect = () => session.post('HeapProfiler.collectGarbage');
const threads = new BroadcastChannel('memory-probe');
threads.onmessage = collect;
threads.unref();

if (isMainThread) {
  let asked = 0;
  process.on('SIGUSR2', async () => {
    // What a finalizer frees is free after the next one.
    for (let i = 0; i < 4; i += 1) {
      threads.postMessage('collect');
      collect();
      await new Promise((done) => setTimeout(done, 250));
    }
    asked += 1;
    process.stdout.write(`${JSON.stringify({ event: 'memory', asked, ...process.memoryUsage() })}\n`);
  });
}
