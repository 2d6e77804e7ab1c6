import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'tsup';
import { root } from '../../support/source-files.ts';

/** Bundles the manager's program once per run: every life starts it several times. */
export async function setup(): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'bifrost-faults-'));
  await build({
    entry: { manager: join(root, 'test/faults/manager/main.ts') },
    outDir: folder,
    outExtension: () => ({ js: '.mjs' }),
    ...{ format: 'esm', platform: 'node', target: 'node24', noExternal: [/.*/], splitting: false, config: false, silent: true, clean: false },
    // CommonJS packages in an ES module still ask for `require`.
    banner: { js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);" },
  });
  process.env['BIFROST_FAULTS_PROGRAM'] = join(folder, 'manager.mjs');
  return () => rm(folder, { recursive: true, force: true });
}
