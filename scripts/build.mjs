// Builds every package: JavaScript by tsup (the agent as one CommonJS file), declarations by `tsc -b`.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'tsup';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = { format: 'esm', platform: 'node', target: 'node22', sourcemap: true, clean: true, silent: true, splitting: true };

const packages = [
  { folder: 'packages/types', options: { ...modules, entry: { index: 'src/index.ts', 'core/index': 'src/core/index.ts' } } },
  {
    folder: 'packages/sdk',
    options: {
      ...modules,
      entry: {
        index: 'src/index.ts',
        kubernetes: 'src/kubernetes.ts',
        tailscale: 'src/tailscale.ts',
        'server/index': 'src/server/index.ts',
        'testing/index': 'src/testing/index.ts',
        'testing/conformance/index': 'src/testing/conformance/index.ts',
      },
    },
  },
  {
    folder: 'packages/agent',
    // One file, CommonJS: an ES module import of node:http costs about 10 MiB of memory (docs/decisions/agent-runtime.md).
    options: {
      ...modules,
      format: 'cjs',
      splitting: false,
      sourcemap: false,
      entry: { agent: 'src/main.ts' },
      outExtension: () => ({ js: '.cjs' }),
      noExternal: [/.*/],
      minify: true,
    },
  },
  { folder: 'examples/embedded', options: { ...modules, entry: { main: 'src/main.ts' } } },
  { folder: 'examples/network-manager', options: { ...modules, splitting: false, entry: { main: 'src/main.ts' } } },
];

for (const { folder, options } of packages) {
  process.chdir(join(root, folder)); // tsup resolves entries, output and package.json from the working directory
  await build({ ...options, config: false, tsconfig: 'tsconfig.json', outDir: 'dist' });
}
process.chdir(root);

const types = spawnSync(join(root, 'node_modules', '.bin', 'tsc'), ['-b', ...packages.map(({ folder }) => folder)], { cwd: root, encoding: 'utf8' });
process.stdout.write(types.stdout);
process.stderr.write(types.stderr);
process.exitCode = types.status ?? 1;
