import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NetworkManager } from '@bifrost/types/proto';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/adapters/system/clock.ts';
import { EXIT } from '../../src/cli/exit-codes.ts';
import { programOf } from '../../src/cli/program.ts';
import { openSimulatedWorld } from '../../src/cli/simulate/world.ts';
import { bifrost, Captured } from './support.ts';

const root = join(import.meta.dirname, '../../../..');
const guide = readFileSync(join(root, 'docs/guides/command-line.md'), 'utf8');
const lines = [...guide.matchAll(/^```sh\n([\s\S]*?)^```/gm)].flatMap(([, block = '']) => block.trim().split('\n'));
const output = new Captured();
const program = programOf(
  {
    ...{
      env: {},
      stdin: (async function* () {})(),
      stdout: output,
      stderr: output,
      signal: new AbortController().signal,
      clock: systemClock(),
      user: '',
    },
    openCluster: () => Promise.reject(),
  },
  () => {},
);
const namesOf = (command: Command): readonly string[] => command.commands.map((one) => one.name());

describe('docs/guides/command-line.md', () => {
  it('shows commands that do what they say, in the world that it speaks of', async () => {
    expect(lines.length).toBeGreaterThan(10);
    const signal = AbortSignal.timeout(14_000);
    await using world = await openSimulatedWorld({ port: 0, disturbMs: 0, clock: systemClock(), signal });
    for (const line of lines) {
      const [name, ...argv] = line.split(' ');
      const ran = await bifrost(argv, { env: { BIFROST_SERVER: world.address }, clock: systemClock(), signal });
      expect({ line, name, ...ran }).toMatchObject({ line, name: 'bifrost', code: 0 });
    }
  });

  it('has every command, and no other', () => {
    const rows = new Map([...guide.matchAll(/^\| `([\w-]+)` \| (.*) \|$/gm)].map(([, name = '', what = '']) => [name, what]));
    expect([...rows.keys()].sort()).toEqual([...namesOf(program)].sort());
    for (const command of program.commands.filter(({ commands }) => commands.length > 0))
      for (const name of namesOf(command)) expect(rows.get(command.name())).toContain(`\`${name}\``);
  });

  it('finds the command where a checkout has it', () => {
    const { bin } = JSON.parse(readFileSync(join(root, 'packages/sdk/package.json'), 'utf8')) as { readonly bin: Readonly<Record<string, string>> };
    expect(guide).toContain(`"$checkout/${join('packages/sdk', bin['bifrost'] ?? '')}" "$@"`);
    expect(guide).not.toMatch(/npm install\b/); // it is in no registry yet: whatever has that name there is not ours
  });

  it('names options that exist', () => {
    const known = new Set<string>(['--help']);
    const visit = (command: Command): void => {
      for (const { long, short } of command.options) for (const name of [long, short]) if (name) known.add(name);
      command.commands.forEach(visit);
    };
    visit(program);
    expect([...guide.matchAll(/(?<![\w-])--[a-z][\w-]*/g)].map(([name]) => name).filter((name) => !known.has(name))).toEqual([]);
  });

  it('has every exit code', () => {
    expect([...guide.matchAll(/^\| (\d+) \|/gm)].map(([, code]) => Number(code))).toEqual(Object.values(EXIT));
  });
});

describe('the network API', () => {
  it('has a command for every call', () => {
    const sources = globSync('packages/sdk/src/cli/**/*.ts', { cwd: root }).map((path) => readFileSync(join(root, path), 'utf8'));
    const unused = NetworkManager.methods.filter(({ localName }) => !sources.some((source) => source.includes(`NetworkManager.method.${localName}`)));
    expect(unused.map(({ name }) => name)).toEqual([]);
  });

  it('can be tried without effect wherever a command changes something', () => {
    const changing = ['create', 'update', 'delete', 'pause', 'resume', 'attach', 'repair', 'detach', 'upgrade', 'inject', 'read-only'];
    const found: string[] = [];
    const visit = (command: Command): void => {
      if (changing.includes(command.name()) && !command.options.some(({ long }) => long === '--dry-run')) found.push(command.name());
      command.commands.forEach(visit);
    };
    visit(program);
    expect(found).toEqual([]);
  });
});
