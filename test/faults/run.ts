// Runs the fault suite: builds what is missing of the programs, then tests. Arguments go to vitest.
// A machine that cannot build Kubernetes skips it with one line; with CI=true and Go at hand that is a failure.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { apiServerIsBuilt } from '../support/api-server.ts';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../..');
const run = (command: string, ...args: readonly string[]): number => spawnSync(command, args, { cwd: root, stdio: 'inherit' }).status ?? 1;

/** The lab's exit code on a machine that cannot have one. */
const UNABLE = 3;

process.exitCode = main();

function main(): number {
  if (!apiServerIsBuilt({ controllers: true })) {
    const hasGo = spawnSync('go', ['version']).status === 0;
    // The lab builds them, and keeps them where both look.
    const built = hasGo ? run('bash', join(root, 'test/lab/lab'), 'build') : UNABLE;
    if (built !== 0) return built === UNABLE ? skipped(hasGo) : built;
  }
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  return run(process.execPath, vitest, 'run', '--root', root, '--config', join(here, 'vitest.config.ts'), ...process.argv.slice(2));
}

function skipped(hasGo: boolean): number {
  const demanded = process.env['CI'] === 'true' && hasGo;
  const said = demanded
    ? 'this machine has Go, but cannot build Kubernetes: a failure in CI'
    : 'skipped: it needs a Kubernetes API server, which Go builds';
  process.stdout.write(`test:faults: ${said}\n`);
  return demanded ? 1 : 0;
}
