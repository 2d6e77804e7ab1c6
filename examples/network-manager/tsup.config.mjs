import { copyFileSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { modules } from '../../scripts/tsup-modules.mjs';

const require = createRequire(import.meta.url);
const here = fileURLToPath(new URL('.', import.meta.url));
const SITE = [
  join(here, 'site/index.html'),
  join(here, 'site/start.js'),
  require.resolve('@bifrost/types/openapi.json'),
  require.resolve('swagger-ui-dist/swagger-ui-bundle.js'),
  require.resolve('swagger-ui-dist/swagger-ui.css'),
];

export default {
  ...modules,
  entry: { main: 'src/main.ts' },
  onSuccess: async () => {
    mkdirSync(join(here, 'dist/site'), { recursive: true });
    for (const file of SITE) copyFileSync(file, join(here, 'dist/site', basename(file)));
  },
};
