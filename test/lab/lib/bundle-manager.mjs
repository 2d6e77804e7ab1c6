// bundle-manager.mjs FILE: examples/network-manager/dist/main.js and all that it imports, as the one file that the manager's image holds.
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'tsup';

const project = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
const file = resolve(process.argv[2] ?? 'main.mjs');
process.chdir(resolve(project, 'examples/network-manager'));
await build({
  entry: { main: resolve('dist/main.js') },
  outDir: dirname(file),
  outExtension: () => ({ js: '.mjs' }),
  format: 'esm',
  platform: 'node',
  target: 'node24',
  noExternal: [/.*/],
  splitting: false,
  minify: false,
  sourcemap: false,
  config: false,
  silent: true,
  clean: false,
  // CommonJS packages in an ES module still ask for `require`.
  banner: { js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);" },
});
