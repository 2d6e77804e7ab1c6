import { defineConfig } from 'vitest/config';
import unit from '../../vitest.config.ts';
import { MinimumReporter } from '../support/minimum.ts';

const common = {
  globalSetup: ['test/faults/support/program.ts'],
  // Each file has worlds of its own.
  maxConcurrency: 5,
  testTimeout: 120_000,
  hookTimeout: 600_000,
};

export default defineConfig({
  test: {
    reporters: ['default', new MinimumReporter('faults')],
    projects: [
      // Managers that die all the time keep two cores busy: alone.
      {
        resolve: unit.resolve ?? {},
        test: { ...common, name: 'crash', include: ['test/faults/crash.test.ts'], sequence: { groupOrder: 0 } },
      },
      // The others wait most of the time: side by side.
      {
        resolve: unit.resolve ?? {},
        test: {
          ...common,
          ...{ name: 'answers', include: ['test/faults/*.test.ts'], exclude: ['test/faults/crash.test.ts'] },
          ...{ sequence: { groupOrder: 1 }, maxWorkers: 3 },
        },
      },
    ],
  },
});
