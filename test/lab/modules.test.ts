import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = promisify(execFile);

/** Runs a Go module's own tests, as `lab build` builds it; gives the names of those that passed. */
async function goTest(module: string): Promise<readonly string[]> {
  const cwd = fileURLToPath(new URL(`modules/${module}`, import.meta.url));
  const env = { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-mod=readonly', GOWORK: 'off' };
  const { stdout } = await run('go', ['test', '-v', '-vet=all', '.'], { cwd, env, maxBuffer: 16 * 1024 * 1024 }).catch(({ stdout, stderr }) => {
    throw new Error(`go test of ${module} failed: ${stderr}${stdout}`);
  });
  return [...stdout.matchAll(/^--- PASS: (\w+)/gm)].map(([, name]) => name ?? '');
}

// What stands between a policy and the packets of every other test here is worth tests of its own.
test('the control server judges and enforces policies as Tailscale documents it', { timeout: 300_000 }, async () => {
  expect((await goTest('control')).length).toBeGreaterThanOrEqual(9);
});
