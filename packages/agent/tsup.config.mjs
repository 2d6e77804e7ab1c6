import { modules } from '../../scripts/tsup-modules.mjs';

export default {
  ...modules,
  // One file, CommonJS: an ES module import of node:http costs about 10 MiB of memory (docs/decisions/agent-runtime.md).
  format: 'cjs',
  splitting: false,
  sourcemap: false,
  minify: true,
  banner: { js: '#!/usr/bin/env node' },
  entry: { agent: 'src/main.ts' },
  outExtension: () => ({ js: '.cjs' }),
  noExternal: [/.*/],
};
