// Type-checks what documents show: each `@example` of a doc comment in packages/*/src, and each ```ts block of docs/guides.
// An example may use every export of our packages and what docs/reference/context.ts declares; so may a block without imports of its own.
import { spawnSync } from 'node:child_process';
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const home = join(root, 'docs', 'reference');
const out = join(home, 'dist', 'examples');
const ENTRIES = [
  '@bifrost/sdk',
  '@bifrost/sdk/kubernetes',
  '@bifrost/sdk/tailscale',
  '@bifrost/sdk/server',
  '@bifrost/sdk/testing',
  '@bifrost/sdk/testing/conformance',
  '@bifrost/types',
];

/** Which entry exports a name; the first wins. */
async function exportedNames() {
  const require = createRequire(join(home, 'package.json'));
  const from = new Map();
  for (const entry of ENTRIES) {
    for (const name of Object.keys(await import(pathToFileURL(require.resolve(entry)).href))) if (!from.has(name)) from.set(name, entry);
  }
  return from;
}

const lineAt = (text, offset) => text.slice(0, offset).split('\n').length;

/** `{ source, line, code }` of every example; `line` is where its code begins. */
function examplesOf(source, text) {
  const found = [];
  for (const match of text.matchAll(/^( *)\* @example *\n((?:\1\*(?! @|\/).*\n)+)/gm)) {
    const code = match[2].replaceAll(/^ *\* ?/gm, '');
    found.push({ source, line: lineAt(text, match.index) + 1, code });
  }
  return found;
}

function blocksOf(source, text) {
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map((match) => ({ source, line: lineAt(text, match.index) + 1, code: match[1] }));
}

/** One line, so that lines of the file and of the source run in step. */
function headOf(code, exported, context) {
  const used = new Set(code.match(/[A-Za-z_$][\w$]*/g));
  const declared = new Set(
    [...code.matchAll(/\b(?:const|let|function) (?:\{ ([^}]*) \}|(\w+))/g)].flatMap(([, many, one]) => (many ?? one).split(/\W+/)),
  );
  const imports = new Map();
  for (const name of [...used].sort()) {
    const from = declared.has(name) ? undefined : (exported.get(name) ?? (context.has(name) ? '../../context.ts' : undefined));
    if (from !== undefined) imports.set(from, [...(imports.get(from) ?? []), name]);
  }
  return [...imports].map(([from, names]) => `import { ${names.join(', ')} } from '${from}';`).join(' ');
}

const read = (path) => readFileSync(join(root, path), 'utf8');
const find = (pattern) => globSync(pattern, { cwd: root, exclude: (name) => name === 'node_modules' || name === 'dist' }).sort();
const exported = await exportedNames();
const context = new Set(
  [...read('docs/reference/context.ts').matchAll(/^export declare const (\w+)|^export \{ (\w+) \}/gm)].map((match) => match[1] ?? match[2]),
);
const examples = find('packages/*/src/**/*.ts').flatMap((path) => examplesOf(path, read(path)));
const blocks = find('docs/guides/*.md').flatMap((path) => blocksOf(path, read(path)));

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const places = new Map();
for (const [index, { source, line, code }] of [...examples, ...blocks].entries()) {
  const name = `${index}.ts`;
  const isWhole = /^import /m.test(code);
  const head = isWhole ? 'export {};' : `${headOf(code, exported, context)} export async function example() {`;
  writeFileSync(join(out, name), `${head}\n${code}${isWhole ? '' : '}\n'}`);
  places.set(name, { source, line });
}
const tsc = spawnSync(
  process.execPath,
  [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', join(home, 'examples.tsconfig.json'), '--pretty', 'false'],
  {
    cwd: out,
    encoding: 'utf8',
  },
);
const said = tsc.stdout.replaceAll(/^(\d+\.ts)\((\d+),(\d+)\)/gm, (_, name, line, column) => {
  const { source, line: from } = places.get(name);
  return `${source}:${from + Number(line) - 2}:${column}`;
});
process.stdout.write(said + tsc.stderr);
if (tsc.status === 0) process.stdout.write(`${examples.length} examples of comments and ${blocks.length} of guides are well typed\n`);
process.exitCode = tsc.status ?? 1;
