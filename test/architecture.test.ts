import { existsSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join } from 'node:path';
import { ERROR_CODES } from '@bifrost/types/core';
import { beforeAll, describe, expect, it } from 'vitest';
import { ENTRIES, LAYERS, LIBRARIES, layerOf } from './support/layers.ts';
import { type ImportOf, placesOf, readSources, root, type SourceFile, withoutComments } from './support/source-files.ts';

const MAX_LINES = 300;

let sources: readonly SourceFile[] = [];
let tests: readonly SourceFile[] = [];
const below = (...folders: readonly string[]): readonly SourceFile[] =>
  sources.filter(({ path }) => folders.some((folder) => path.startsWith(folder)));

beforeAll(async () => {
  sources = await readSources('packages/*/src/**/*.ts', 'examples/*/src/**/*.ts');
  tests = await readSources('packages/*/test/**/*.ts', 'examples/*/test/**/*.ts', 'test/**/*.ts');
});

/** Says what is wrong with one import, or nothing. */
function faultOf(file: SourceFile, found: ImportOf): string | undefined {
  const from = layerOf(file.path);
  if (!from) return 'this file belongs to no layer of test/support/layers.ts';
  if (isBuiltin(found.specifier)) {
    if (!found.specifier.startsWith('node:')) return 'Node’s modules are written node:x';
    return from.node ? undefined : `no Node module in ${from.name}: ${from.because}`;
  }
  const to = found.file ? layerOf(found.file)?.name : ENTRIES[found.specifier];
  if (to === undefined) return libraryFaultOf(file, found.specifier);
  if (found.file && from.name === 'examples' && to !== 'examples') return from.because;
  if (to === from.name && apartOf(from.apart, file.path) === apartOf(from.apart, found.file)) return undefined;
  if (from.may.includes(to) && to !== from.name) return undefined;
  if (from.mayTypes?.includes(to)) return found.typeOnly ? undefined : `${from.name} may use types of ${to} only (import type): ${from.because}`;
  return `${from.name} may not import ${to}: ${from.because}`;
}

const apartOf = (apart: RegExp | undefined, path: string | undefined): string | undefined => (path ? apart?.exec(path)?.[1] : undefined);

function libraryFaultOf(file: SourceFile, specifier: string): string | undefined {
  const library = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
  const allowed = LIBRARIES[library];
  if (!allowed) return `${library} is not in the table of libraries`;
  return allowed.test(file.path) ? undefined : `${library} may be imported only where ${allowed} says`;
}

describe('imports', () => {
  it('every file belongs to a layer', () => {
    expect(sources.filter(({ path }) => !layerOf(path)).map(({ path }) => path)).toEqual([]);
  });

  it('go one way', () => {
    const faults = sources.flatMap((file) =>
      file.imports.flatMap((found) => {
        const fault = faultOf(file, found);
        return fault ? [`${file.path}:${found.line} imports ${found.specifier}: ${fault}`] : [];
      }),
    );
    expect(faults).toEqual([]);
  });

  it('name files that exist, with their ending', () => {
    const known = new Set(sources.map(({ path }) => path));
    const isThere = (file = ''): boolean => file === '' || known.has(file) || (file.includes('/src/gen/') && existsSync(join(root, file)));
    const lost = sources.flatMap(({ path, imports }) => imports.filter(({ file }) => !isThere(file)).map((found) => `${path} ${found.specifier}`));
    expect(lost).toEqual([]);
  });

  it('form no circle of values', () => {
    expect(circleIn(sources)).toEqual([]);
  });

  it('the main entry reaches no Kubernetes client: it is loaded when it is used', () => {
    expect(reachableLibraries('packages/sdk/src/index.ts')).not.toContain('@kubernetes/client-node');
  });

  it('the agent reaches nothing but Node and types/core', () => {
    const libraries = below('packages/agent/src/').flatMap(({ imports }) =>
      imports.filter(({ file, typeOnly }) => !file && !typeOnly).map(({ specifier }) => specifier),
    );
    expect([...new Set(libraries)].filter((specifier) => !specifier.startsWith('node:') && specifier !== '@bifrost/types/core')).toEqual([]);
  });

  it('the table itself is sound: every name in it is a layer or an entry', () => {
    const names = new Set([...LAYERS.map(({ name }) => name), ...Object.values(ENTRIES)]);
    expect(LAYERS.flatMap(({ may, mayTypes = [] }) => [...may, ...mayTypes]).filter((name) => !names.has(name))).toEqual([]);
    for (const { because } of LAYERS) expect(because.length).toBeGreaterThan(20);
  });
});

const staticValues = (file: SourceFile): readonly ImportOf[] => file.imports.filter(({ typeOnly, dynamic }) => !typeOnly && !dynamic);

/** Files of the first circle found among static imports of values, in order; empty when there is none. */
function circleIn(files: readonly SourceFile[]): readonly string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): readonly string[] => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path];
    const file = byPath.get(path);
    if (!file || done.has(path)) return [];
    for (const { file: next } of staticValues(file)) {
      const circle = next ? visit(next, [...trail, path]) : [];
      if (circle.length > 0) return circle;
    }
    done.add(path);
    return [];
  };
  return files.map(({ path }) => visit(path, [])).find((circle) => circle.length > 0) ?? [];
}

function reachableLibraries(entry: string): readonly string[] {
  const byPath = new Map(sources.map((file) => [file.path, file]));
  const seen = new Set<string>();
  const libraries = new Set<string>();
  const queue = [entry];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    const file = seen.has(path) ? undefined : byPath.get(path);
    seen.add(path);
    for (const found of file ? staticValues(file) : []) {
      if (found.file) queue.push(found.file);
      else libraries.add(found.specifier);
    }
  }
  return [...libraries];
}

describe('what code may not do', () => {
  const library = () => below('packages/sdk/src/', 'packages/types/src/').filter(({ path }) => !path.startsWith('packages/sdk/src/cli/'));
  const pure = () => below('packages/sdk/src/domain/', 'packages/agent/src/domain/', 'packages/types/src/');
  const suites = 'packages/sdk/src/testing/conformance/';

  it('the domain and types have no clock, chance, timer, process or network', () => {
    const impure =
      /\bDate\.now\b|\bnew Date\(\s*\)|\bMath\.random\b|\bcrypto\.|\bset(?:Timeout|Interval|Immediate)\b|\bqueueMicrotask\b|\bprocess\.|\bfetch\(|\bperformance\./g;
    expect(placesOf(pure(), impure)).toEqual([]);
  });

  it('the library never owns the process', () => {
    const owned = /\bprocess\.(?:env|exit|exitCode|on|once|stdout|stderr|argv|chdir|kill)\b|\bconsole\./g;
    expect(placesOf(library(), owned)).toEqual([]);
  });

  it('in the agent only main.ts owns the process', () => {
    const files = below('packages/agent/src/').filter(({ path }) => path !== 'packages/agent/src/main.ts');
    expect(placesOf(files, /\bprocess\.(?:env|exit|exitCode|on|once|stdout|stderr|argv)\b|\bconsole\./g)).toEqual([]);
  });

  it('in the command only main.ts owns the process', () => {
    const files = below('packages/sdk/src/cli/').filter(({ path }) => path !== 'packages/sdk/src/cli/main.ts');
    expect(placesOf(files, /\bprocess\.(?:env|exit|exitCode|on|once|stdin|stdout|stderr|argv)\b|\bconsole\./g)).toEqual([]);
  });

  it('no state lives in a module', () => {
    expect(
      placesOf(below('packages/'), /^(?:export )?(?:let|var) \w+|^(?:export )?const \w+[^=\n]*= new (?:Weak)?(?:Map|Set)(?:<.*>)?\(\s*\)/gm),
    ).toEqual([]);
  });

  it('errors have a code', () => {
    const files = below('packages/').filter(({ path }) => !path.startsWith(suites));
    expect(placesOf(files, /\bthrow new (?:Type|Range)?Error\(/g)).toEqual([]);
  });

  it('nothing is decided by the text of a message', () => {
    expect(placesOf(below('packages/'), /\.message\.(?:includes|startsWith|endsWith|match|indexOf|search)\(/g)).toEqual([]);
  });

  it('exports have names', () => {
    expect(placesOf(sources, /^export default\b/gm)).toEqual([]);
  });

  it('nothing is left to do', () => {
    const text = [...sources, ...tests].map((file) => ({ ...file, code: file.text })).filter(({ path }) => path !== 'test/architecture.test.ts');
    expect(placesOf(text, /\b(?:TODO|FIXME|XXX)\b/g)).toEqual([]);
  });

  it(`files have at most ${MAX_LINES} lines`, () => {
    const long = [...sources, ...tests].filter(({ lineCount }) => lineCount > MAX_LINES);
    expect(long.map(({ path, lineCount }) => `${path} has ${lineCount} lines`)).toEqual([]);
  });

  it('the linter is told the rest: length of functions, number of parameters, any, enum, non-null, console, default exports', () => {
    const config = readFileSync(join(root, 'biome.json'), 'utf8');
    for (const rule of ['noExcessiveLinesPerFunction', 'useMaxParams']) expect(config).toMatch(new RegExp(`"${rule}": \\{\\s*"level": "error"`));
    for (const rule of ['noExplicitAny', 'noEnum', 'noNonNullAssertion', 'noConsole', 'noDefaultExport'])
      expect(config).toContain(`"${rule}": "error"`);
  });
});

describe('error codes', () => {
  it('are all in use: a code that nothing throws would be a promise', () => {
    const users = sources.filter(({ path }) => path !== 'packages/types/src/core/errors.ts').map(({ code }) => code);
    expect(Object.keys(ERROR_CODES).filter((name) => !users.some((code) => code.includes(`'${name}'`)))).toEqual([]);
  });
});

describe('tests', () => {
  const outsideSupport = () => tests.filter(({ path }) => !/^test\/(?:.*\/)?support\//.test(path) && path !== 'test/architecture.test.ts');

  it('wait for conditions, never for time', () => {
    expect(placesOf(outsideSupport(), /\bsetTimeout\b|\btimers\/promises\b/g)).toEqual([]);
  });
  it('use fakes, not mocks of modules', () => {
    expect(placesOf(outsideSupport(), /\bvi\.(?:mock|doMock|hoisted)\(/g)).toEqual([]);
  });
  it('reach other packages by their entries only', () => {
    const home = (path: string): string => /^(?:packages|examples)\/[^/]+\/|^test\//.exec(path)?.[0] ?? path;
    const deep = tests.flatMap(({ path, imports }) =>
      imports
        .filter(({ file }) => file && !file.startsWith(home(path)) && file !== 'vitest.config.ts')
        .map(({ line, specifier }) => `${path}:${line} ${specifier}`),
    );
    const unknown = tests.flatMap(({ path, imports }) =>
      imports
        .filter(({ specifier }) => specifier.startsWith('@bifrost/') && !(specifier in ENTRIES))
        .map(({ line, specifier }) => `${path}:${line} ${specifier}`),
    );
    expect([...deep, ...unknown]).toEqual([]);
  });
  it('are never left out silently', () => {
    expect(placesOf(outsideSupport(), /\b(?:it|test|describe)\.(?:only|todo|skip)\b/g)).toEqual([]);
  });
  it('of the LocalAPI are the same on simulator and daemon: nothing in the suite and its runs leaves a case out', () => {
    const isPart = ({ path }: SourceFile): boolean => /(?:^test\/(?:lab\/)?(?:conformance\/)?|\/conformance\/)local-api[\w.-]*\.ts$/.test(path);
    const parts = [...sources, ...tests].filter(isPart);
    expect(parts.map(({ path }) => path)).toEqual(
      expect.arrayContaining([
        'packages/sdk/src/testing/conformance/local-api.ts',
        'test/lab/conformance/local-api.lab.ts',
        'test/lab/local-api.test.ts',
        'test/local-api.test.ts',
      ]),
    );
    expect(placesOf(parts, /\bskip\w*|\.(?:only|todo|runIf)\b/g)).toEqual([]);
  });
});

describe('ports', () => {
  const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1, -'.ts'.length);
  const pascal = (name: string): string => name.replace(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase());
  const ports = () =>
    below('packages/sdk/src/ports/')
      .map(({ path }) => nameOf(path))
      .filter((name) => name !== 'index');

  it('each has a conformance suite that at least two implementations run', () => {
    const lacking = ports().flatMap((port) => {
      const suite = `describe${pascal(port)}`;
      const defined = below('packages/sdk/src/testing/conformance/').some(({ code }) =>
        new RegExp(`export (?:async )?function ${suite}\\b`).test(code),
      );
      const runs = placesOf(tests, new RegExp(`\\b${suite}\\(`, 'g'));
      if (!defined) return [`${port}: no ${suite} in packages/sdk/src/testing/conformance`];
      return runs.length >= 2 ? [] : [`${port}: ${suite} is run by ${runs.length === 0 ? 'no test' : runs.join(' only')}`];
    });
    expect(lacking).toEqual([]);
  });
});

describe('invariants', () => {
  it('each that a page beside the code numbers has a test with that number in its title', async () => {
    const { globSync } = await import('node:fs');
    const titles = tests.flatMap(({ text }) =>
      [...text.matchAll(/\b(?:it|test)(?:\.\w+)*\(\s*(?:\[[^\]]*\]\)\()?\s*['"`]([^'"`]*)/g)].map((match) => match[1] ?? ''),
    );
    const missing = globSync('packages/*/src/**/*.md', { cwd: root }).flatMap((page) =>
      [...readFileSync(join(root, page), 'utf8').matchAll(/^[-*] \*\*([A-Z]+\d+)\b/gm)]
        .map((match) => match[1] ?? '')
        .filter((id) => !titles.some((title) => new RegExp(`\\b${id}\\b`).test(title)))
        .map((id) => `${page}: ${id} is in no test's title`),
    );
    expect(missing).toEqual([]);
  });
});

describe('this test', () => {
  it('blanks comments and nothing else', () => {
    const text = "const a = 'no // comment'; // setTimeout\nconst b = /[/'\"]\\/\\//; /* process.env */ const c = `// ${1}`;";
    expect(withoutComments(text)).toBe("const a = 'no // comment';              \nconst b = /[/'\"]\\/\\//;                   const c = `// ${1}`;");
  });
  it.each([
    ['packages/sdk/src/domain/x.ts', 'node:fs', /no Node module in domain/],
    ['packages/sdk/src/domain/x.ts', 'undici', /undici may be imported only/],
    ['packages/sdk/src/domain/x.ts', '../ports/index.ts', /domain may not import ports/],
    ['packages/sdk/src/ports/x.ts', '../domain/model.ts', /types of domain only/],
    ['packages/sdk/src/adapters/kubernetes/x.ts', '../memory/store.ts', /adapters may not import adapters/],
    ['packages/sdk/src/manager/x.ts', '../server/index.ts', /manager may not import server/],
    ['packages/agent/src/x.ts', '@bifrost/types', /agent may not import types/],
    ['examples/embedded/src/x.ts', '../../../packages/sdk/src/index.ts', /never by deep paths/],
    ['packages/sdk/src/elsewhere/x.ts', './y.ts', /no layer/],
  ])('refuses %s importing %s', async (path, specifier, message) => {
    const file = specifier.startsWith('.') ? join(path, '..', specifier) : undefined;
    const source: SourceFile = { path, text: '', code: '', lineCount: 1, imports: [] };
    expect(faultOf(source, { specifier, file, typeOnly: false, dynamic: false, line: 1 })).toMatch(message);
  });
});
