import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root } from './support/source-files.ts';

const PROGRAM = 'examples/book-controller/src/network.ts';
const pages = globSync(['*.md', 'docs/**/*.md', 'packages/*/*.md', 'packages/*/src/**/*.md', 'examples/**/*.md', 'test/**/*.md'], {
  cwd: root,
  exclude: (name) => name === 'node_modules' || name === 'dist',
}).sort();
const textOf = (path: string): string => readFileSync(join(root, path), 'utf8');
const scripts = (JSON.parse(textOf('package.json')) as { scripts: Readonly<Record<string, string>> }).scripts;

describe('README', () => {
  const program = /```ts\n([\s\S]*?)```/.exec(textOf('README.md'))?.[1] ?? '';
  it(`shows ${PROGRAM} as it is, which runs in the lab`, () => {
    expect(program).toBe(textOf(PROGRAM));
  });
  it('shows a program of at most 20 lines', () => {
    const lines = program.split('\n').filter((line) => line.trim() !== '');
    expect(lines.length).toBeGreaterThan(5);
    expect(lines.length).toBeLessThanOrEqual(20);
  });
});

describe('docs/guides/testing.md', () => {
  it('shows tests that run as they stand there', () => {
    const shown = [...textOf('docs/guides/testing.md').matchAll(/^```ts\n([\s\S]*?)^```/gm)].map((match) => match[1]);
    expect(shown).toEqual(['test/guide-controller.test.ts', 'test/guide-adapter.test.ts'].map(textOf));
  });
});

describe('docs/events.md', () => {
  const source = textOf('packages/types/src/core/events.ts');
  const rows = [...textOf('docs/events.md').matchAll(/^\| `([\w:]+)` \|(.*)\|$/gm)].map(([, name = '', rest = '']) => ({
    name,
    cells: rest.split('|'),
  }));

  it('has one row for every event, in their order', () => {
    const names = [...source.matchAll(/^ {2}'(\w+:\w+)': .*Event/gm)].map(([, name]) => name);
    expect(names.length).toBeGreaterThan(5);
    expect(rows.map(({ name }) => name)).toEqual(names);
  });

  it('words connectivity as monitorConnectivity does', async () => {
    const { CONNECTIVITY_WORDS } = await import('@bifrost/types/core');
    const worded = rows.map(({ name, cells }) => [name, /`(\w+)`/.exec(cells.at(-1) ?? '')?.[1]] as const).filter(([, word]) => word !== undefined);
    expect(Object.fromEntries(worded)).toEqual(CONNECTIVITY_WORDS);
  });
});

describe('every page', () => {
  it.each(['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md', 'LICENSE'])('%s is there', (page) => {
    expect(existsSync(join(root, page))).toBe(true);
  });

  it.each(pages)('%s links to files that exist', (page) => {
    const targets = [...textOf(page).matchAll(/\]\(([^)\s]+)\)/g)]
      .map((match) => match[1] ?? '')
      .filter((target) => !/^(?:https?:|mailto:|#)/.test(target));
    expect(targets.filter((target) => !existsSync(join(root, dirname(page), target.replace(/#.*/, ''))))).toEqual([]);
  });

  it.each(pages)('%s names files of this project that exist', (page) => {
    const named = [...textOf(page).matchAll(/`((?:packages|examples|scripts|test|docs|\.ci)\/[\w./-]+)`/g)].map((match) => match[1] ?? '');
    expect(named.filter((path) => !existsSync(join(root, path)) && !/\/dist(\/|$)/.test(path))).toEqual([]);
  });

  it.each(pages)('%s names scripts that exist', (page) => {
    const named = [...textOf(page).matchAll(/\bnpm run (?:-s )?([\w:-]+)/g)].map((match) => match[1] ?? '');
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
  });

  it.each(pages)('%s names error codes that exist', async (page) => {
    const { ERROR_CODES } = await import('@bifrost/types/core');
    const families = new Set(Object.keys(ERROR_CODES).map((code) => code.split('_')[0]));
    const named = [...textOf(page).matchAll(/`([A-Z]+(?:_[A-Z]+)+)`/g)].map((match) => match[1] ?? '');
    expect(named.filter((code) => families.has(code.split('_')[0]) && !(code in ERROR_CODES))).toEqual([]);
  });
});
