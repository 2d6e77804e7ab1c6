import { cpSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { modules } from '../../scripts/tsup-modules.mjs';

const below = (path) => fileURLToPath(new URL(path, import.meta.url));

export default {
  ...modules,
  entry: { index: 'src/index.ts', 'core/index': 'src/core/index.ts', proto: 'src/proto.ts' },
  // Generated declarations are no output of `tsc`: it only reads them.
  onSuccess: async () => cpSync(below('src/gen'), below('dist/gen'), { recursive: true, filter: (path) => !path.endsWith('.js') }),
};
