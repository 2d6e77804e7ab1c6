// Runs the lab's tests: builds, starts, tests, stops, and fails when anything of the lab is left. Arguments go to vitest.
// A machine that cannot run the lab skips it with one line; with CI=true and Go at hand that is a failure.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../..');
const run = (command, ...args) => spawnSync(command, args, { cwd: root, stdio: 'inherit' }).status ?? 1;
const lab = (...args) => run('bash', join(here, 'lab'), ...args);
const say = (text) => process.stdout.write(`test:lab: ${text}\n`);

// The lab is one per machine: nobody else starts, stops or tests it meanwhile.
process.exitCode = process.env.LAB_HELD ? main() : lab('hold', process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2));

function main() {
  const built = lab('build');
  if (built === 3) {
    const demanded = process.env.CI === 'true' && spawnSync('go', ['version']).status === 0;
    say(demanded ? 'this machine has Go, but the lab cannot run: a failure in CI' : 'skipped');
    return demanded ? 1 : 0;
  }
  if (built !== 0) return built;
  let failed = 1;
  try {
    const started = performance.now();
    if (lab('up') !== 0) return 1;
    say(`the lab started in ${((performance.now() - started) / 1000).toFixed(1)} s`);
    failed = run(
      process.execPath,
      join(root, 'node_modules/vitest/vitest.mjs'),
      'run',
      '--root',
      root,
      '--config',
      join(here, 'vitest.config.ts'),
      ...process.argv.slice(2),
    );
  } finally {
    if (lab('down') !== 0 || lab('leftovers') !== 0) failed ||= 1;
  }
  return failed;
}
