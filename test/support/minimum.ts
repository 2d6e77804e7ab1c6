import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Reporter, TestModule, Vitest } from 'vitest/node';

interface Counts {
  readonly suite: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** What failed, by file, name and the first line of what it said: the end of a log of CI is what is kept. */
  readonly failures: readonly string[];
}

const MOST_FAILURES = 20;
const MOST_SAID = 600;

/**
 * Fails a whole run that has fewer passing tests than `test/suites.json` states for the suite: tests that silently stop running are seen.
 * A run of some files or names only is not judged. With BIFROST_TEST_RESULTS set to a folder, the counts are written there for `.ci/run`.
 */
export class MinimumReporter implements Reporter {
  readonly #suite: string;
  #vitest: Vitest | undefined;
  constructor(suite: string) {
    this.#suite = suite;
  }

  onInit(vitest: Vitest): void {
    this.#vitest = vitest;
  }

  async onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): Promise<void> {
    const counts = countsOf(this.#suite, modules, unhandledErrors.length);
    const folder = process.env['BIFROST_TEST_RESULTS'];
    if (folder) {
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, `${this.#suite}.json`), JSON.stringify(counts));
    }
    const least = leastOf(this.#suite);
    if (counts.passed >= least || !(await this.#isWhole(modules))) return;
    process.stderr.write(`The suite "${this.#suite}" passed ${counts.passed} tests; test/suites.json states at least ${least}.\n`);
    process.exitCode = 1;
  }

  async #isWhole(modules: readonly TestModule[]): Promise<boolean> {
    if (!this.#vitest || modules.some(({ project }) => project.vitest.getGlobalTestNamePattern() !== undefined)) return false;
    return (await this.#vitest.globTestSpecifications()).length === modules.length;
  }
}

function leastOf(suite: string): number {
  const stated = JSON.parse(readFileSync(new URL('../suites.json', import.meta.url), 'utf8')) as Readonly<Record<string, number>>;
  return stated[suite] ?? 1;
}

/** A file that could not be loaded and an error outside of tests count as one failed test each. */
function countsOf(suite: string, modules: readonly TestModule[], unhandledErrors: number): Counts {
  const results = modules.flatMap((module) => [...module.children.allTests()].map((test) => test.result().state));
  const count = (state: string): number => results.filter((result) => result === state).length;
  const broken = modules.filter((module) => module.errors().length > 0).length;
  return {
    suite,
    passed: count('passed'),
    failed: count('failed') + broken + unhandledErrors,
    skipped: count('skipped'),
    failures: modules.flatMap(failuresOf).slice(0, MOST_FAILURES),
  };
}

function failuresOf(module: TestModule): readonly string[] {
  const said = (errors: readonly { readonly message: string }[] | undefined): string => (errors?.[0]?.message ?? '').slice(0, MOST_SAID);
  const tests = [...module.children.allTests('failed')].map((test) => `${test.fullName}: ${said(test.result().errors)}`);
  const broken = [...(module.errors().length > 0 ? [said(module.errors())] : []), ...tests];
  return broken.map((line) => `${module.relativeModuleId}: ${line}`);
}
