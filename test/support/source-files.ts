import { globSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { init, parse } from 'es-module-lexer';

/** The project's folder, with a slash at its end. */
export const root = fileURLToPath(new URL('../../', import.meta.url));

/** One import or re-export of a file. */
export interface ImportOf {
  /** As written: `./x.ts`, `node:fs`, `@bifrost/types/core`. */
  readonly specifier: string;
  /** For relative imports: the file, relative to the project's folder. */
  readonly file: string | undefined;
  readonly typeOnly: boolean;
  readonly dynamic: boolean;
  readonly line: number;
}

export interface SourceFile {
  /** Relative to the project's folder, with forward slashes. */
  readonly path: string;
  readonly text: string;
  /** The text with comments blanked: same length, same lines. */
  readonly code: string;
  readonly lineCount: number;
  readonly imports: readonly ImportOf[];
}

export const lineAt = (text: string, offset: number): number => text.slice(0, offset).split('\n').length;

// A comment, or what may hold something that looks like one: strings, templates, regular expressions after a sign that begins an expression.
const TOKEN =
  /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[\s\S]|[^`\\])*`|(?<=[(,=:[!&|?{};+]\s*|\breturn\s+)\/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/g;

/** Blanks comments, so that words in prose break no rule. */
export const withoutComments = (text: string): string =>
  text.replace(TOKEN, (token) => (token.startsWith('//') || token.startsWith('/*') ? token.replace(/[^\n]/g, ' ') : token));

function importsOf(path: string, text: string): readonly ImportOf[] {
  const [imports] = parse(text, path);
  return imports.flatMap((found): ImportOf[] => {
    if (found.type === 'import-meta' || found.specifier === undefined) return [];
    const relative = found.specifier.startsWith('.');
    return [
      {
        specifier: found.specifier,
        file: relative ? posix.join(dirname(path), found.specifier) : undefined,
        typeOnly: found.type !== 'dynamic' && found.typeOnly,
        dynamic: found.type === 'dynamic',
        line: lineAt(text, found.importStart),
      },
    ];
  });
}

/** What `npm run generate` makes of the proto: held to it by `verify`, and to nothing else. */
const GENERATED = /\/src\/gen\//;

/** Reads the files that match, sorted by path. Generated code is none of them. */
export async function readSources(...patterns: readonly string[]): Promise<readonly SourceFile[]> {
  await init;
  const paths = globSync(patterns, { cwd: root, exclude: (name) => name === 'node_modules' || name === 'dist' }).map((path) =>
    path.replaceAll('\\', '/'),
  );
  return [...new Set(paths)]
    .filter((path) => !GENERATED.test(path))
    .sort()
    .map((path) => {
      const text = readFileSync(join(root, path), 'utf8');
      const lineCount = text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
      return { path, text, code: withoutComments(text), lineCount, imports: importsOf(path, text) };
    });
}

/** `file:line text` of every place where the pattern (global) is met in code. */
export const placesOf = (files: readonly SourceFile[], pattern: RegExp): readonly string[] =>
  files.flatMap(({ path, code }) => [...code.matchAll(pattern)].map((match) => `${path}:${lineAt(code, match.index)} ${match[0].trim()}`));
