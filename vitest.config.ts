import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Two cores: real federations in parallel would starve each other's heartbeats.
    maxWorkers: 2,
    reporters: ['default'],
  },
});
