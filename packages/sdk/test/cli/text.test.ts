import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { bytesText, countText, durationMs, durationText } from '../../src/cli/quantities.ts';
import { safeText } from '../../src/cli/safe-text.ts';
import { Show } from '../../src/cli/show.ts';
import { factLines, tableLines } from '../../src/cli/table.ts';
import { VERSION } from '../../src/server/api/version.ts';
import { Captured, hurriedClock, versionOfPackage } from './support.ts';

/** What a terminal would obey: a sequence that clears it, one of the second set, an arrow that turns text around, a carriage return. */
const HOSTILE = 'a\u001b[2Jb\u009b31mc\u202edcba\r\n\u0007\u007f\ud800';
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is for
const OBEYED = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;

const showOf = (format: 'table' | 'json' | 'yaml', { isTTY = false, env = {} }: { isTTY?: boolean; env?: Record<string, string> } = {}) => {
  const [stdout, stderr] = [new Captured(isTTY), new Captured(isTTY)];
  const cli = { env, stdin: (async function* () {})(), stdout, stderr, signal: new AbortController().signal, clock: hurriedClock(), user: 'me' };
  return { show: new Show({ ...cli, openCluster: () => Promise.reject() }, format), stdout, stderr };
};

describe('text of a server', () => {
  it('is shown and not obeyed', () => {
    expect(safeText(HOSTILE)).toBe('a\\u001b[2Jb\\u009b31mc\\u202edcba\\u000d\\u000a\\u0007\\u007f\\ud800');
    expect(safeText('Grüße, 世界 🙂')).toBe('Grüße, 世界 🙂');
  });

  it.each(['json', 'yaml'] as const)('is the same for a program that reads %s, and harmless on a terminal', (format) => {
    const document = { text: HOSTILE.replace('\ud800', ''), [HOSTILE.slice(0, 8)]: ['\u009b', 'plain', 'two\nlines', '2024-01-01', 'yes'] };
    const { show, stdout } = showOf(format);
    show.document(document);
    expect(stdout.text).not.toMatch(OBEYED);
    expect(format === 'json' ? JSON.parse(stdout.text) : parse(stdout.text)).toEqual(document);
  });

  it('is harmless in a text for a file, whose lines end as they did', () => {
    const { show, stdout } = showOf('table');
    show.text('a\r\nb\u001b[2J\rc\u202e\n');
    expect(stdout.text).toBe('a\r\nb\\u001b[2J\\u000dc\\u202e\n');
  });

  it('is harmless in tables, facts, notes and progress', () => {
    const { show, stdout, stderr } = showOf('table');
    show.lines([...show.table({ head: ['A'], rows: [[HOSTILE]] }), ...factLines([['a', HOSTILE]])]);
    show.note(HOSTILE);
    show.progress().update(HOSTILE);
    expect(stdout.text + stderr.text).not.toMatch(OBEYED);
    expect(stdout.text.split('\n')).toHaveLength(4); // no cell makes a line of its own
  });
});

describe('tables', () => {
  it('are aligned, and say where nothing is', () => {
    expect(
      tableLines({
        head: ['NAME', 'N'],
        rows: [
          ['a', 1],
          ['longer', undefined],
          ['', 0],
        ],
      }),
    ).toEqual(['NAME     N', 'a        1', 'longer   -', '-        0']);
  });

  it('have colour on a terminal only, and not where it is not wanted', () => {
    const table = { head: ['STATUS', 'X'], rows: [['active', 'y']] };
    expect(showOf('table', { isTTY: true }).show.table(table)).toEqual(['STATUS   X', '\u001b[32mactive\u001b[0m   y']);
    expect(showOf('table', { isTTY: true, env: { NO_COLOR: '1' } }).show.table(table)[1]).toBe('active   y');
    expect(showOf('table', { isTTY: true, env: { TERM: 'dumb' } }).show.table(table)[1]).toBe('active   y');
    expect(showOf('table').show.table(table)[1]).toBe('active   y');
  });
});

describe('progress', () => {
  it('is one line that changes on a terminal, and a line per change elsewhere', () => {
    for (const [isTTY, wanted] of [
      [true, '\r\u001b[2Kone\r\u001b[2Ktwo\n'],
      [false, 'one\ntwo\n'],
    ] as const) {
      const { show, stderr } = showOf('table', { isTTY });
      {
        using progress = show.progress();
        for (const text of ['one', 'one', 'two']) progress.update(text);
      }
      expect(stderr.text).toBe(wanted);
    }
  });
});

describe('quantities', () => {
  it.each([
    ['90s', 90_000],
    ['1h30m', 5_400_000],
    ['500ms', 500],
    ['2d', 172_800_000],
  ])('%s is a time', (text, milliseconds) => {
    expect(durationMs(text, '--timeout')).toBe(milliseconds);
  });

  it.each(['', '5', 'm', '-5m', '5 m', '1e3s', '5x'])('"%s" is none', (text) => {
    expect(() => durationMs(text, '--timeout')).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }));
  });

  it('are written shortly', () => {
    expect([0, 999, 61_000, 3_600_000, 277_200_000, -5].map(durationText)).toEqual(['0s', '0s', '1m1s', '1h', '3d5h', '0s']);
    expect([0, 1023, 1536, 5n * 1024n ** 3n].map(bytesText)).toEqual(['0 B', '1023 B', '1.5 KiB', '5.0 GiB']);
    expect([0, 1, 2].map((count) => countText(count, 'pod'))).toEqual(['0 pods', '1 pod', '2 pods']);
  });
});

it('says the version of its package', () => {
  expect(VERSION).toBe(versionOfPackage());
});
