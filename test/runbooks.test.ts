import { spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { BifrostError, ERROR_CODES, type ErrorCode } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { readSources, root, type SourceFile } from './support/source-files.ts';

const FOLDER = 'docs/runbooks';
const SECTIONS = ['Symptom', 'Confirm', 'Repair', 'Prevent'];
const codes = Object.keys(ERROR_CODES) as ErrorCode[];
const pages = globSync(`${FOLDER}/*.md`, { cwd: root })
  .map((path) => basename(path, '.md'))
  .filter((name) => name !== 'README')
  .sort();
const textOf = (name: string): string => readFileSync(join(root, FOLDER, `${name}.md`), 'utf8');
const sections = (code: string): ReadonlyMap<string, string> =>
  new Map(
    textOf(code)
      .split(/^## /m)
      .slice(1)
      .map((part) => [part.split('\n', 1)[0] ?? '', part.slice(part.indexOf('\n')).trim()]),
  );
const shellOf = (text: string): readonly string[] => [...text.matchAll(/```sh\n([\s\S]*?)```/g)].map((match) => match[1] ?? '');
const sources: readonly SourceFile[] = await readSources('packages/*/src/**/*.ts', 'examples/*/src/**/*.ts');

/** Method and path of every call of the service, below `/api/v1/networks`, as its document has them. */
const { paths } = JSON.parse(readFileSync(join(root, 'packages/types/proto/openapi.json'), 'utf8')) as {
  paths: Record<string, Record<string, unknown>>;
};
const routes = Object.entries(paths).flatMap(([path, verbs]) =>
  Object.keys(verbs).map((verb) => ({ method: verb.toUpperCase(), path: regExp(path.replace('/api/v1/networks', '')) })),
);
function regExp(template: string): RegExp {
  return new RegExp(`^${template.replaceAll(/\{\w+\}/g, '[^/:]+')}$`);
}

describe('docs/runbooks', () => {
  it('has one page for each error code, and no other', () => {
    expect(pages).toEqual([...codes].sort());
  });

  it('each error knows its page', () => {
    for (const code of codes) expect(new BifrostError({ code, message: 'x' }).runbook).toBe(`${FOLDER}/${code}.md`);
  });

  it('its index has each code with its retry advice and its status', () => {
    const rows = [...textOf('README').matchAll(/^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \| (\d+) \| \S.* \|$/gm)].map(([, code, page, retry, http]) => ({
      code,
      page,
      retry,
      http: Number(http),
    }));
    expect(rows).toEqual(Object.entries(ERROR_CODES).map(([code, { retry, http }]) => ({ code, page: code, retry, http })));
  });

  it('its way to ask sends a body as the service takes it', () => {
    const [, api = ''] = /^(api\(\) \{\n[\s\S]*?^\})$/m.exec(textOf('README')) ?? [];
    const sent = (call: string) =>
      spawnSync('bash', [], { input: `curl() { printf '%s\\n' "$@"; }\n${api}\n${call}\n`, encoding: 'utf8' }).stdout.split('\n');
    expect(sent(`api POST /tailnets/a:planUpdate '{"tags": []}'`)).toEqual(
      expect.arrayContaining(['Content-Type: application/json', '{"tags": []}']),
    );
    expect(sent('api GET /tailnets')).not.toContain('-d');
  });

  it('the service has the calls that this test compares with', () => {
    expect(routes.length).toBeGreaterThan(15);
  });
});

describe.each(codes)('the page of %s', (code) => {
  const text = pages.includes(code) ? textOf(code) : '';

  it('says what it means, how it shows, how to be sure, how to mend and prevent it', () => {
    expect(text.split('\n', 1)[0]).toBe(`# ${code}`);
    const found = sections(code);
    expect([...found.keys()]).toEqual(SECTIONS);
    for (const [name, content] of found) expect([name, content.length > 10]).toEqual([name, true]);
    expect(text.split('\n\n')[1]?.length).toBeGreaterThan(20);
  });

  it('has commands to be sure with, and they are shell', () => {
    const [commands = ''] = shellOf(sections(code).get('Confirm') ?? '');
    expect(commands.trim()).not.toBe('');
    for (const shell of shellOf(text)) {
      const { status, stderr } = spawnSync('bash', ['-n'], { input: shell, encoding: 'utf8' });
      expect([status, stderr]).toEqual([0, '']);
    }
  });

  it('names calls that the service has', () => {
    const calls = [...text.matchAll(/\bapi (GET|POST|PATCH|DELETE) '?(\/[^\s'?`]+)/g)].map(([, method = '', path = '']) => ({ method, path }));
    const unknown = calls.filter(
      ({ method, path }) => path !== '/events' && !routes.some((route) => route.method === method && route.path.test(path)),
    );
    expect(unknown).toEqual([]);
  });

  it('looks for words that are logged', () => {
    const wanted = [...text.matchAll(/grep '([^']+)'/g)].map(([, words = '']) => /"(?:code|outcome|message)":"([^"]+)"/.exec(words)?.[1] ?? words);
    const logged = (words: string): boolean => words in ERROR_CODES || sources.some((file) => file.code.includes(`'${words}`));
    expect(wanted.filter((words) => !logged(words))).toEqual([]);
  });

  it('tells the status that doors answer with', () => {
    const told = /HTTP (\d{3})/.exec(sections(code).get('Symptom') ?? '')?.[1];
    expect(told === undefined ? undefined : Number(told)).toBe(told === undefined ? undefined : ERROR_CODES[code].http);
  });
});
