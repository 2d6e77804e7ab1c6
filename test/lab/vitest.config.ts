import { basename } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import unit from '../../vitest.config.ts';
import { MinimumReporter } from '../support/minimum.ts';

/** What takes the lab down. */
const LAST = ['stop.test.ts', 'first-hour.test.ts'];

/** By name, and then what takes the lab down. */
class InOrder extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): string => `${LAST.indexOf(basename(moduleId)) + 1}${moduleId}`;
    return [...files].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
  }
}

export default defineConfig({
  resolve: unit.resolve ?? {},
  test: {
    include: ['test/lab/*.test.ts'],
    globalSetup: ['test/lab/support/hold.ts'],
    reporters: ['default', new MinimumReporter('lab')],
    sequence: { sequencer: InOrder },
    // One cluster, two cores.
    fileParallelism: false,
    testTimeout: 90_000,
    hookTimeout: 180_000,
  },
});
