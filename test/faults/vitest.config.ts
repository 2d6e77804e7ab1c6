import { defineConfig } from 'vitest/config';
import unit from '../../vitest.config.ts';
import { MinimumReporter } from '../support/minimum.ts';

export default defineConfig({
  resolve: unit.resolve ?? {},
  test: {
    include: ['test/faults/*.test.ts'],
    globalSetup: ['test/faults/support/program.ts'],
    reporters: ['default', new MinimumReporter('faults')],
    // Each file has worlds of its own; two cores have no room for more than one at a time.
    fileParallelism: false,
    maxConcurrency: 5,
    testTimeout: 120_000,
    hookTimeout: 600_000,
  },
});
