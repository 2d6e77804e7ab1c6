import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { blocksOf } from '../support/guide.ts';
import { root } from '../support/source-files.ts';
import { leftovers } from './support/command.ts';
import { FAILED, Shell } from './support/shell.ts';

// The guide's commands as they stand there, in one shell: each block finds what the ones before it made. They start a lab of their own and take it down,
// so they come after all other tests (vitest.config.ts).
const blocks = blocksOf('docs/guides/first-hour.md');
const commands = blocks.filter(({ language }) => language === 'sh').map(({ text }) => text);

/** What each block must print, in the guide's own words. */
const PRINTED: readonly (readonly [title: string, printed: RegExp])[] = [
  ['starts the lab and the manager', /^network-manager-\S+ +2\/2 +Running/m],
  ['makes the customer’s side', /"enabledRoutes":\["10\.1\.0\.0\/24"\]/],
  ['makes yours', /^tailnet\S+acme condition met\n[\s\S]*deployment "book" successfully rolled out$/m],
  ['shows that the book does not reach the customer', /"kind":"ETIMEDOUT"/],
  ['attaches it: it does', /^\{"status":200,"body":"private network of acme"/m],
  ['cuts the link, which is told, and lets it come back', /condition met\nrelay\n[\s\S]*condition met$/m],
  ['detaches it, and leaves nothing', /^gateway-acme$/m],
];

/** Without what differs each time: milliseconds, ages, and so the width of columns. */
const plain = (text: string): string =>
  text
    .replaceAll(/"ms":\d+/g, '"ms":N')
    .replaceAll(/\b\d+(?:m\d*)?s$/gm, 'AGE')
    .replaceAll(/ +/g, ' ')
    .trim();

describe('docs/guides/first-hour.md', () => {
  let shell: Shell;
  const printed: string[] = [];
  beforeAll(() => {
    shell = new Shell(root);
  });
  afterAll(() => shell[Symbol.asyncDispose]());

  test('has a block for each line here', () => {
    expect(commands).toHaveLength(PRINTED.length);
  });

  test.each(PRINTED.map((line, at) => [...line, commands[at] ?? ''] as const))(
    '%s',
    async (_, expected, block) => {
      const said = await shell.run(block, { timeoutMs: 280_000 });
      printed.push(said);
      expect(said).toMatch(expected);
      const failed = said.split('\n').filter((line) => line.startsWith(FAILED));
      expect(failed, said).toHaveLength(said.includes('ETIMEDOUT') ? 1 : 0);
    },
    300_000,
  );

  test('shows what the attach printed', () => {
    const shown = blocks.find(({ text }) => text.startsWith('NAMESPACE'))?.text ?? '';
    expect(plain(printed[4] ?? '')).toContain(plain(shown));
  });

  test('has left nothing on the machine', async () => {
    expect(await leftovers()).toEqual([]);
  });
});
