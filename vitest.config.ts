import { defineConfig } from 'vitest/config';

const report = process.env['TEST_REPORT'];
const patience = { testTimeout: 90_000, hookTimeout: 90_000 };

export default defineConfig({
  test: {
    reporters: report === undefined ? ['default'] : ['default', 'json'],
    ...(report === undefined ? {} : { outputFile: { json: report } }),
    projects: [
      {
        test: {
          ...patience,
          name: 'logic',
          include: ['test/**/*.test.ts'],
          exclude: ['test/integration/**', 'test/e2e/**'],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        // Real processes with real heartbeats, afterwards and one file at a time: on two cores they would starve each other.
        test: {
          ...patience,
          name: 'processes',
          include: ['test/{integration,e2e}/**/*.test.ts'],
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
