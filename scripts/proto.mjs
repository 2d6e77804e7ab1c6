// What is made of packages/types/proto: code, the descriptor set, and the verdict of buf's lint and breaking check. buf works in a folder of its own,
// in which the files of Google and gRPC lie beside ours: they come from packages of the registry and are not kept here.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const types = join(dirname(dirname(fileURLToPath(import.meta.url))), 'packages', 'types');
const require = createRequire(join(types, 'package.json'));
const packageOf = (name) => dirname(require.resolve(`${name}/package.json`));
const bin = (name) => join(types, 'node_modules', '.bin', name);

/** Package, folder in it, files below that folder. */
const FOREIGN = [
  [
    '@grpc/grpc-js-xds',
    'deps/googleapis',
    ['google/api/annotations.proto', 'google/api/http.proto', 'google/rpc/code.proto', 'google/rpc/error_details.proto', 'google/rpc/status.proto'],
  ],
  ['@grpc/reflection', 'build/proto', ['grpc/reflection/v1/reflection.proto']],
];

/** The released form: a change that breaks its readers fails the check. */
export const BASELINE = 'packages/types/proto/baseline.binpb';

function workspace() {
  const folder = mkdtempSync(join(tmpdir(), 'bifrost-proto-'));
  cpSync(join(types, 'proto'), join(folder, 'ours'), { recursive: true, filter: (path) => !/\.(binpb|yaml)$/.test(path) });
  const take = (from, to) => {
    mkdirSync(dirname(join(folder, 'foreign', to)), { recursive: true });
    cpSync(from, join(folder, 'foreign', to));
  };
  for (const [name, below, files] of FOREIGN) for (const file of files) take(join(packageOf(name), below, file), file);
  take(join(packageOf('grpc-health-check'), 'proto', 'health', 'v1', 'health.proto'), 'grpc/health/v1/health.proto');
  const rules = readFileSync(join(types, 'proto', 'buf.yaml'), 'utf8').replace('version: v2\n', '');
  writeFileSync(join(folder, 'buf.yaml'), `version: v2\nmodules:\n  - path: ours\n  - path: foreign\n    lint: { ignore: [foreign] }\n${rules}`);
  const out = (opt) => ({ local: join(types, 'node_modules', '.bin', 'protoc-gen-es'), out: 'gen', opt });
  writeFileSync(join(folder, 'buf.gen.yaml'), JSON.stringify({ version: 'v2', plugins: [out(['target=js+dts', 'import_extension=js'])] }));
  return folder;
}

function buf(folder, args) {
  const { status, stdout, stderr } = spawnSync(bin('buf'), args, {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, HOME: folder, XDG_CACHE_HOME: folder },
  });
  return { ok: status === 0, said: `${stdout}${stderr}` };
}

/** Files that are generated, by path from the project's folder, what buf finds wrong, and the image that a later form is compared with. */
export function generateProto() {
  const folder = workspace();
  try {
    const faults = [];
    const run = (...args) => {
      const { ok, said } = buf(folder, args);
      if (!ok) faults.push(`buf ${args[0]}: ${said}`);
      return ok;
    };
    run('lint');
    run('format', '--diff', '--exit-code', 'ours');
    if (!run('build', '--as-file-descriptor-set', '-o', 'bifrost.binpb')) return { files: [], faults };
    run('build', '--as-file-descriptor-set', '--exclude-source-info', '-o', 'plain.binpb');
    run('build', 'ours', '-o', 'image.binpb'); // tells ours from what it imports
    const baseline = join(types, 'proto', 'baseline.binpb');
    if (existsSync(baseline)) run('breaking', 'ours', '--exclude-imports', '--against', baseline);
    run('generate');
    const files = readdirSync(join(folder, 'gen'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => ({ path: `packages/types/src/gen/${path.slice(join(folder, 'gen').length + 1)}`, bytes: readFileSync(path) }));
    files.push({ path: 'packages/types/proto/bifrost.binpb', bytes: readFileSync(join(folder, 'bifrost.binpb')) });
    // Beside the manifests, since kustomize takes no file from elsewhere; without the comments, since it lies in a ConfigMap.
    files.push({ path: 'examples/deploy/envoy/bifrost.binpb', bytes: readFileSync(join(folder, 'plain.binpb')) });
    return { files, faults, image: readFileSync(join(folder, 'image.binpb')) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
