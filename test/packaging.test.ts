import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, posix } from 'node:path';
import { init, parse } from 'es-module-lexer';
import { beforeAll, describe, expect, it } from 'vitest';
import { root } from './support/source-files.ts';

interface Manifest {
  readonly name: string;
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>;
  readonly bin?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly files: readonly string[];
  readonly license: string;
}
const manifestOf = (folder: string): Manifest => JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')) as Manifest;
/** Files that others come to by the package's name, or by its commands. */
const targetsOf = ({ exports, bin = {} }: Manifest): readonly string[] => [
  ...Object.values(exports).flatMap((target) => (typeof target === 'string' ? [target] : [target.types, target.default])),
  ...Object.values(bin),
];

/** All files that an entry of dist reaches, and the packages that those import. */
function reach(entry: string, imports: 'all' | 'static' = 'all'): ReadonlySet<string> {
  const packages = new Set<string>();
  const seen = new Set<string>();
  const queue = [entry];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    const [found] = parse(readFileSync(path, 'utf8'));
    for (const { type, specifier } of found.filter((one) => one.type !== 'import-meta')) {
      if (specifier === undefined || (imports === 'static' && type === 'dynamic')) continue;
      if (specifier.startsWith('.')) queue.push(join(dirname(path), specifier));
      else if (!isBuiltin(specifier))
        packages.add(
          specifier
            .split('/')
            .slice(0, specifier.startsWith('@') ? 2 : 1)
            .join('/'),
        );
    }
  }
  return packages;
}

beforeAll(() => init);

describe.each(['packages/types', 'packages/sdk', 'packages/agent'])('%s as it is built', (folder) => {
  const manifest = manifestOf(folder);
  it('has every file that its exports name', () => {
    expect(targetsOf(manifest).filter((target) => !existsSync(join(root, folder, target)))).toEqual([]);
  });
  it('publishes what its exports name, under the project’s licence', () => {
    const published = targetsOf(manifest).filter((target) => target !== './package.json');
    const covered = (target: string) =>
      manifest.files.some((file) => posix.join('.', target) === file || posix.join('.', target).startsWith(`${file}/`));
    expect(published.filter((target) => !covered(target))).toEqual([]);
    expect(manifest.license).toBe('Apache-2.0');
  });
  it('imports only what it declares', () => {
    const declared = { ...manifest.dependencies, ...manifest.peerDependencies };
    const entries = targetsOf(manifest).filter((target) => target.endsWith('.js'));
    const undeclared = entries.flatMap((entry) =>
      [...reach(join(root, folder, entry))].filter((name) => !(name in declared)).map((name) => `${entry}: ${name}`),
    );
    expect(undeclared).toEqual([]);
  });
});

describe('the SDK', () => {
  it('loads without Kubernetes’ client: that costs 80 MiB and half a second', () => {
    expect([...reach(join(root, 'packages/sdk/dist/index.js'), 'static')]).not.toContain('@kubernetes/client-node');
  });
  it('starts its command without Kubernetes’ client and simulators: shells wait for it at each completion', () => {
    const command = join(root, 'packages/sdk/dist/cli/main.js');
    expect(readFileSync(command, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
    // Before it has looked at its Node it loads nothing.
    expect([...reach(command, 'static')]).toEqual([]);
    const started = /import\("(\.\.\/start-[^"]+)"\)/.exec(readFileSync(command, 'utf8'))?.[1] ?? '';
    expect([...reach(join(dirname(command), started), 'static')].sort()).toEqual([
      ...['@bifrost/types', '@bufbuild/protobuf', '@connectrpc/connect', '@connectrpc/connect-node', 'commander', 'yaml'],
    ]);
  });
  it('runs its simulators without a test runner', () => {
    expect([...reach(join(root, 'packages/sdk/dist/testing/index.js'))]).not.toContain('vitest');
  });
  it.each([
    '@bifrost/types',
    '@bifrost/types/core',
    '@bifrost/sdk',
    '@bifrost/sdk/kubernetes',
    '@bifrost/sdk/tailscale',
    '@bifrost/sdk/server',
    '@bifrost/sdk/testing',
  ])('%s can be imported from outside, and ends by itself', (entry) => {
    const code = `const all = await import(${JSON.stringify(entry)}); if (Object.keys(all).length === 0) process.exitCode = 3;`;
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', code], {
      cwd: join(root, 'test'),
      encoding: 'utf8',
      timeout: 10_000,
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });
});

describe('the agent', () => {
  const bundle = join(root, 'packages/agent/dist/agent.cjs');
  it('is one file that needs Node alone', () => {
    const required = [...readFileSync(bundle, 'utf8').matchAll(/\brequire\(["'`]([^"'`]+)["'`]\)/g)].map((match) => match[1] ?? '');
    expect(required.length).toBeGreaterThan(0);
    expect(required.filter((name) => !isBuiltin(name))).toEqual([]);
  });
  it('is small, and holds neither a schema library nor an HTTP library', () => {
    expect(statSync(bundle).size).toBeLessThan(100_000);
    expect(readFileSync(bundle, 'utf8')).not.toMatch(/ZodError|undici|eventemitter3/);
  });
});
