// Runs the suite of the four doors on a real Envoy. Arguments go to vitest.
// A machine that cannot have Envoy skips it with one line; with CI=true and pip at hand that is a failure.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../..');

/** get-envoy's exit code on a machine that cannot have it. */
const UNABLE = 3;

process.exitCode = main();

function main(): number {
  const got = spawnSync('bash', [join(here, 'get-envoy')], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  if (got.status === UNABLE) {
    const demanded = process.env['CI'] === 'true' && spawnSync('python3', ['-m', 'pip', '--version']).status === 0;
    process.stdout.write(
      `test:envoy: ${demanded ? 'this machine has pip, but cannot have Envoy: a failure in CI' : 'skipped: there is no Envoy for this machine'}\n`,
    );
    return demanded ? 1 : 0;
  }
  if (got.status !== 0) return got.status ?? 1;
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const args = [vitest, 'run', '--root', root, '--config', join(here, 'vitest.config.ts'), ...process.argv.slice(2)];
  return spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit', env: { ...process.env, BIFROST_ENVOY: got.stdout.trim() } }).status ?? 1;
}
