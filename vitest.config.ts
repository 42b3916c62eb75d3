import { defineConfig } from 'vitest/config';

const report = process.env['TEST_REPORT'];
const patience = { testTimeout: 90_000, hookTimeout: 90_000 };
const integration = [
  'couchbase', 'couchbase-xdcr', 'device-transports', 'doctor', 'driver-repository', 'driver-rollout', 'driver-tools', 'edge-https', 'events',
  'hand-back-faults', 'link-enrolment', 'link-port', 'link-security', 'link-transport', 'live-reload', 'logic-modules', 'proxy', 'real-devices',
  'requests', 'sealed-settings', 'triggers', 'writing-drivers',
];
const waiting = ['test/e2e/**/*.test.ts', ...integration.map((name) => `test/integration/${name}.test.ts`)];
/** They make their process look like a browser. */
const browsers = ['client-browser', 'published-client'].map((name) => `test/unit/${name}.test.ts`);

export default defineConfig({
  test: {
    reporters: report === undefined ? ['default'] : ['default', 'json'],
    ...(report === undefined ? {} : { outputFile: { json: report } }),
    projects: [
      {
        // Files share what they import, which halves the work: they leave nothing behind in their process. Some wait for a
        // disk or a deadline: a third process keeps two cores busy.
        test: {
          ...patience,
          name: 'logic',
          include: ['test/**/*.test.ts'],
          exclude: ['test/integration/**', 'test/e2e/**', ...browsers],
          isolate: false,
          maxWorkers: 3,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: { ...patience, name: 'browsers', include: browsers, maxWorkers: 3, sequence: { groupOrder: 0 } },
      },
      {
        // Real processes that wait more than they work: two files side by side.
        test: { ...patience, name: 'waiting', include: waiting, maxWorkers: 2, sequence: { groupOrder: 1 } },
      },
      {
        // Real processes with real heartbeats, at work: on two cores two files would starve each other.
        test: {
          ...patience,
          name: 'working',
          include: ['test/integration/**/*.test.ts'],
          exclude: waiting,
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
