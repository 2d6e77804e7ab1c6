import { basename } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import unit from '../../vitest.config.ts';
import { MinimumReporter } from '../support/minimum.ts';

/** Waits most of its time, for a daemon that hangs to be found out. */
const WAITS = 'wedged.test.ts';
/** What goes on beside it and each other: none of these replaces the manager, or says anything of what is not its own. */
const BESIDE = [
  ...['agent', 'bad-input', 'cluster', 'conformance', 'daemon-set', 'firewall', 'gateway', 'guard', 'host-network', 'local-api'],
  ...['modules', 'process-namespace', 'unscoped'],
].map((name) => `${name}.test.ts`);
/** What takes the lab down. */
const LAST = ['stop.test.ts', 'first-hour.test.ts'];

/** What others are beside first, then by name, and then what takes the lab down. */
class InOrder extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): string =>
      basename(moduleId) === WAITS ? '' : `${LAST.indexOf(basename(moduleId)) + 1}${moduleId}`;
    return [...files].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
  }
}

const paths = (names: readonly string[]): string[] => names.map((name) => `test/lab/${name}`);
const common = { globalSetup: ['test/lab/support/hold.ts'], testTimeout: 90_000, hookTimeout: 180_000 };

export default defineConfig({
  test: {
    reporters: ['default', new MinimumReporter('lab')],
    sequence: { sequencer: InOrder },
    projects: [
      {
        resolve: unit.resolve ?? {},
        test: { ...common, name: 'beside', include: paths([WAITS, ...BESIDE]), sequence: { groupOrder: 0 }, maxWorkers: 2 },
      },
      {
        resolve: unit.resolve ?? {},
        test: {
          ...common,
          ...{ name: 'alone', include: ['test/lab/*.test.ts'], exclude: paths([WAITS, ...BESIDE]) },
          // One cluster, two cores.
          ...{ sequence: { groupOrder: 1 }, maxWorkers: 1, fileParallelism: false },
        },
      },
    ],
  },
});
