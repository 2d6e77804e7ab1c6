import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { Manifest } from '../../support/manifests.ts';
import { root } from '../../support/source-files.ts';

/** get-crds' exit code on a machine that cannot have it. */
const UNABLE = 3;

/** Judges manifests as an API server with Envoy Gateway's custom resources does. */
export interface Checker {
  /** What is wrong with each of them. */
  complaintsOf(manifests: readonly Manifest[]): ReadonlyArray<readonly string[]>;
}

/** Undefined where the machine has no Go, or Go does not get the modules; with CI=true the latter is thrown. */
export function checker(): Checker | undefined {
  const got = spawnSync('bash', [join(root, 'test/envoy/get-crds')], { encoding: 'utf8' });
  if (got.status === UNABLE && !(process.env['CI'] === 'true' && spawnSync('go', ['version']).status === 0)) return undefined;
  if (got.status !== 0) throw new Error(`get-crds: exit ${got.status}\n${got.stderr}`);
  return {
    complaintsOf: (manifests) => {
      const ran = spawnSync(got.stdout.trim(), { encoding: 'utf8', input: JSON.stringify(manifests) });
      if (ran.status !== 0) throw new Error(`crds: exit ${ran.status}\n${ran.stderr}`);
      return JSON.parse(ran.stdout) as ReadonlyArray<readonly string[]>;
    },
  };
}
