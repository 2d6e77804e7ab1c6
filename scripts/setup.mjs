// Installs and builds what is missing, so that `npm start` and `npm test` work in a fresh clone. Runs on the host's own Node (>= 20)
// and prints to stderr only: stdout belongs to the command that follows.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stamps = join(root, 'node_modules', '.bifrost');
const PNPM = 'pnpm@12.21.0';

const hashOf = (files) => {
  const hash = createHash('sha256');
  for (const file of files)
    hash
      .update(file)
      .update('\0')
      .update(readFileSync(join(root, file)))
      .update('\0');
  return hash.digest('hex');
};

const filesBelow = (folder) =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(root.length + 1))
    .filter((file) => !/(^|\/)(node_modules|dist)\//.test(file))
    .sort();

const fresh = (name, hash) => existsSync(join(stamps, name)) && readFileSync(join(stamps, name), 'utf8') === hash;
const stamp = (name, hash) => {
  mkdirSync(stamps, { recursive: true });
  writeFileSync(join(stamps, name), hash);
};

const run = (what, command, args) => {
  process.stderr.write(`bifrost: ${what}\n`);
  const quiet = spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  if (quiet.status === 0) return;
  process.stderr.write(`${quiet.stdout ?? ''}${quiet.stderr ?? ''}${quiet.error ? `${quiet.error.message}\n` : ''}`);
  process.exit(quiet.status ?? 1);
};

const manifests = [
  'pnpm-lock.yaml',
  'pnpm-workspace.yaml',
  'package.json',
  ...filesBelow('packages'),
  ...filesBelow('examples'),
  'test/package.json',
  'docs/reference/package.json',
].filter((file) => /(^|\/)(package\.json|pnpm-[a-z]+\.yaml)$/.test(file));
const installHash = hashOf(manifests);
if (!fresh('installed', installHash)) {
  run('installing dependencies (once)', 'npx', ['-y', PNPM, 'install', '--frozen-lockfile']);
  stamp('installed', installHash);
}

const sources = [...filesBelow('packages'), ...filesBelow('examples')].filter((file) =>
  /\/(src\/|site\/|tsup\.config|package\.json|tsconfig)/.test(file),
);
const buildHash = hashOf([...sources, 'tsconfig.base.json', 'scripts/build.mjs', 'scripts/tsup-modules.mjs']);
if (!fresh('built', buildHash)) {
  run('building (once)', join(root, 'node_modules', '.bin', 'node'), ['scripts/build.mjs', 'scripts/tsup-modules.mjs']);
  stamp('built', buildHash);
}
