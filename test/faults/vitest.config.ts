import { basename } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import unit from '../../vitest.config.ts';
import { MinimumReporter } from '../support/minimum.ts';

/** The longest first: what begins last must not be what ends last. */
const FIRST = ['watches.test.ts', 'proxy.test.ts', 'outage.test.ts', 'random.test.ts'];
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => [...FIRST, basename(moduleId)].indexOf(basename(moduleId));
    return [...files].sort((a, b) => rank(a) - rank(b));
  }
}

const common = {
  globalSetup: ['test/faults/support/program.ts'],
  // Each file has worlds of its own.
  maxConcurrency: 5,
  // What hangs: what may take how long is stated by each test.
  testTimeout: 300_000,
  hookTimeout: 1_200_000,
};

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
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
