// Everything that can be said about the project without running its tests. Stops at the first step that fails and shows its output.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bin = join(root, 'node_modules', '.bin');
const { BIFROST_TEST_RESULTS: _, ...env } = process.env; // these are no test results

const projects = ['packages/types', 'packages/sdk', 'packages/agent', 'examples/embedded', 'examples/network-manager', 'examples/book-controller'];
const published = ['packages/types', 'packages/sdk', 'packages/agent'];
const typed = ['packages/types', 'packages/sdk'];

/** Name, then commands in order. */
const steps = [
  ['format and lint', ['biome', 'ci', '--colors=off', '--error-on-warnings', '.']],
  ['build', ['node', 'scripts/build.mjs']],
  ['generated files', ['node', 'scripts/generate.mjs', '--check']],
  ['types', ['tsc', '-b', ...projects], ['tsc', '-p', 'test']],
  ['examples in comments and guides', ['node', 'scripts/examples.mjs']],
  ['architecture, packages, documents', ['vitest', 'run', 'test/architecture.test.ts', 'test/packaging.test.ts', 'test/docs.test.ts']],
  ['publint', ...published.map((folder) => ['publint', 'run', folder, '--strict', '--pack', 'npm'])],
  // The descriptor set is no module.
  ['attw', ...typed.map((folder) => ['attw', '--pack', folder, '--profile', 'esm-only', '--exclude-entrypoints', 'bifrost.binpb'])],
  ['knip', ['knip', '--no-progress']],
];

const seconds = (since) => ((performance.now() - since) / 1000).toFixed(1).padStart(6);
const started = performance.now();
for (const [name, ...commands] of steps) {
  const since = performance.now();
  for (const [command, ...args] of commands) {
    const result = spawnSync(join(bin, command), args, { cwd: root, env, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
    if (result.status === 0) continue;
    process.stdout.write(`${result.stdout ?? ''}${result.stderr ?? ''}${result.error ? `${result.error.message}\n` : ''}`);
    process.stdout.write(`${seconds(since)} s  FAILED  ${name}: ${[command, ...args].join(' ')}\n`);
    process.exit(1);
  }
  process.stdout.write(`${seconds(since)} s  ok  ${name}\n`);
}
process.stdout.write(`${seconds(started)} s  verified\n`);
