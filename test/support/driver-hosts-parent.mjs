// A node that does nothing but hold modules, so that a test can stop or kill it. Prints the process ids of its hosts.
import { createSystemClock } from '../../dist/shared/adapters/clock/system-clock.js';
import { createHostProcesses } from '../../dist/shared/adapters/host-process/host-process.js';
import { createPromMetrics } from '../../dist/shared/adapters/metrics/prom-metrics.js';
import { createSystemRandom } from '../../dist/shared/adapters/random/system-random.js';
import { createDriverHosts } from '../../dist/shared/runtime/driver-hosts/driver-hosts.js';

const { modules, leaseMs = null, hosts = 1, ...rest } = JSON.parse(process.argv[2]);
const pids = [];
const note = (event, facts) => void (event === 'driver-host-started' && pids.push(facts.pid));
const log = { debug: note, info: note, warn: note, error: note, child: () => log };
const clock = createSystemClock();
const hostProcesses = createHostProcesses({});
const link = createDriverHosts({ clock, log, metrics: createPromMetrics(), random: createSystemRandom(), hostProcesses, hosts, nodeId: 'parent', ...rest });
link.prepare();
const order = { location: 'hq', epoch: { generation: 0, number: 2 }, modules, handover: {} };
await link.start(order, new AbortController().signal);
const untilMs = leaseMs === null ? null : clock.monotonicMs() + leaseMs;
link.setLease('hq', untilMs);
process.stdout.write(`${JSON.stringify({ hosts: pids, untilMs })}\n`);
