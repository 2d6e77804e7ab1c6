// bundle-example.mjs EXAMPLE FILE: examples/EXAMPLE/dist/main.js and all that it imports, as the one file that its image holds.
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'tsup';

const project = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
const [example = 'network-manager', target = 'main.mjs'] = process.argv.slice(2);
const file = resolve(target);
process.chdir(resolve(project, 'examples', example));
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
