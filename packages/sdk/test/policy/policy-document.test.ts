import fc from 'fast-check';
import { parse } from 'jsonc-parser';
import { describe, expect, it } from 'vitest';
import { compilePolicy, type PolicySections } from '../../src/domain/policy/compile-policy.ts';
import { mergePolicy, parsePolicyText } from '../../src/domain/policy/policy-document.ts';
import { isOurs } from './worlds.ts';

const config = { allowedNetworks: ['10.0.0.0/8'], blockedNetworks: ['10.9.0.0/16'], accessPolicy: 'standard', enableLogging: false } as const;
const sections = compilePolicy({
  shared: false,
  members: [
    {
      sourceTags: ['tag:bifrost-book'],
      routerTag: 'tag:bifrost-router',
      config,
      books: [{ tag: 'tag:bifrost-book-a', enableSsh: true, advertiseRoutes: ['10.7.0.0/24'] }],
    },
  ],
});
const NONE: PolicySections = { tagOwners: {}, autoApprovers: { routes: {} }, grants: [], ssh: [], nodeAttrs: [], tests: [] };

const FOREIGN = `// Kept by the customer's own team.
{
  "groups": { "group:dev": ["ada@example.com"] }, // people
  "tagOwners": {
    "tag:printer": ["group:dev"], /* floor 3 */
  },
  "grants": [
    // developers may print
    { "src": ["group:dev"], "dst": ["tag:printer"], "ip": ["tcp:631"] },
    { "src": ["group:dev"], "dst": ["tag:bifrost-book"], "ip": ["tcp:8080"] } // no comma here
  ],
  "autoApprovers": { "routes": { "10.0.0.0/8": ["tag:printer"] } },
  "somethingNew": [1, 2, 3],
}
`;
const read = (text: string): Record<string, unknown> => parse(text, [], { allowTrailingComma: true }) as Record<string, unknown>;

/** Entries of a list have no order among each other. */
const unordered = (policy: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(policy).map(([name, value]) => [name, Array.isArray(value) ? value.map((entry) => JSON.stringify(entry)).sort() : value]),
  );

describe('a policy with others in it', () => {
  const merged = mergePolicy(FOREIGN, sections, isOurs);

  it('keeps comments, sections and entries of others', () => {
    for (const kept of ["Kept by the customer's own team", '// people', '/* floor 3 */', '// developers may print', '// no comma here', '[1, 2, 3]'])
      expect(merged).toContain(kept);
    const { groups, tagOwners, grants, autoApprovers } = read(merged) as Record<string, never>;
    expect(groups).toEqual({ 'group:dev': ['ada@example.com'] });
    expect(tagOwners).toMatchObject({ 'tag:printer': ['group:dev'] });
    expect(grants).toEqual(expect.arrayContaining([{ src: ['group:dev'], dst: ['tag:bifrost-book'], ip: ['tcp:8080'] }]));
    expect(autoApprovers).toEqual({ routes: { '10.0.0.0/8': ['tag:printer', 'tag:bifrost-router'] } });
  });

  it('has all of ours', () => {
    const { grants, ssh, tests, tagOwners } = read(merged) as Record<string, never>;
    expect(grants).toEqual(expect.arrayContaining([...sections.grants]));
    expect(ssh).toEqual(sections.ssh);
    expect(tests).toEqual(sections.tests);
    expect(tagOwners).toMatchObject(sections.tagOwners);
  });

  it('is the same text when merged again', () => {
    expect(mergePolicy(merged, sections, isOurs)).toBe(merged);
  });

  it('is as it was, in all that it says, when we go', () => {
    const { ssh, tests, ...rest } = read(mergePolicy(merged, NONE, isOurs));
    expect([ssh, tests]).toEqual([[], []]);
    expect(rest).toEqual(read(FOREIGN));
  });

  it.each([
    ['an own grant that was widened', (text: string) => text.replace('"10.128.0.0/9"', '"10.0.0.0/8"')],
    ['an own grant that was taken out', (text: string) => text.replace(/\{[^{}]*"10\.128\.0\.0\/9"[^{}]*\},/, '')],
    ['another owner of an own tag', (text: string) => text.replace('"tag:bifrost-book": []', '"tag:bifrost-book": ["group:dev"]')],
    ['an own tag that nobody wants', (text: string) => text.replace('"tag:bifrost-book": []', '"tag:bifrost-book": [], "tag:bifrost-old": []')],
    ['an approver of ours at another route', (text: string) => text.replace('"routes": {', '"routes": { "0.0.0.0/0": ["tag:bifrost-router"],')],
  ])('comes back to what is wanted after %s', (_, edit) => {
    const edited = edit(merged);
    expect(edited).not.toBe(merged);
    expect(unordered(read(mergePolicy(edited, sections, isOurs)))).toEqual(unordered(read(merged)));
  });
});

it('what was JSON stays JSON', () => {
  expect(JSON.parse(mergePolicy('{"grants": []}', sections, isOurs))).toMatchObject({ ssh: sections.ssh });
});

describe('what is no policy', () => {
  it.each([
    ['text', 'grants: everything'],
    ['an open brace', '{ "grants": ['],
    ['a list', '[]'],
    ['grants that are no list', '{ "grants": {} }'],
    ['a member twice', '{ "grants": [], "grants": [] }'],
    ['a member twice, in another case', '{ "grants": [], "Grants": [{ "src": ["*"], "dst": ["*"], "ip": ["*"] }] }'],
    ['owners that are no object', '{ "tagOwners": [] }'],
    ['routes that are no object', '{ "autoApprovers": { "routes": [] } }'],
    ['approvers that are no list', '{ "autoApprovers": { "routes": { "10.0.0.0/8": "tag:x" } } }'],
    ['nothing', ''],
  ])('%s is refused, and nothing is made of it', (_, text) => {
    expect(() => mergePolicy(text, sections, isOurs)).toThrow(expect.objectContaining({ code: 'POLICY_UNREADABLE' }));
  });

  it('tells where', () => {
    expect(() => parsePolicyText('{ "grants": [ }')).toThrow(expect.objectContaining({ details: { offset: expect.stringMatching(/^\d+$/) } }));
  });
});

/** A policy of somebody's, written in some way: comments and commas wherever they may stand. */
const gap = fc.constantFrom('', ' ', '\n', '\n  ', ' // note\n', '/* { [ , */', '// "grants": [\n');
const foreignEntry = fc.constantFrom(
  '{"src":["group:a"],"dst":["tag:bifrost-book"],"ip":["*"]}',
  '{"src":["*"],"dst":["10.0.0.0/8"],"ip":["443"]}',
  '{"src":["tag:bifrost-book","tag:theirs"],"dst":["*"],"ip":["*"]}',
  '{"src":[],"dst":[]}',
  '"a text, with // and , in it"',
);
const ownEntry = fc.constantFrom('{"src":["tag:bifrost-old"],"dst":["*"],"ip":["*"]}', JSON.stringify(sections.grants[0]));
const list = fc
  .tuple(fc.array(fc.tuple(gap, fc.oneof(foreignEntry, ownEntry), gap), { maxLength: 6 }), fc.boolean(), gap)
  .map(([items, trailing, end]) => `[${items.map(([a, item, b]) => `${a}${item}${b}`).join(',')}${trailing && items.length > 0 ? ',' : ''}${end}]`);
const document = fc.tuple(gap, fc.option(list), fc.option(list), gap, fc.boolean()).map(([start, grants, tests, end, trailing]) => {
  const members = [...(grants === null ? [] : [`"grants":${grants}`]), '"other": {"x": [1,]}', ...(tests === null ? [] : [`"ssh":${tests}`])];
  return `${start}{${start}${members.join(`,${end}`)}${trailing ? ',' : ''}${end}}${end}`;
});
const ownNames = (entry: unknown): boolean => {
  const src = (entry as { src?: unknown } | null)?.src;
  return Array.isArray(src) && src.length > 0 && src.every((tag) => isOurs(String(tag)));
};

describe('any policy', () => {
  it('keeps what is others, has what is ours and nothing else of ours, and is settled by one merge', () => {
    fc.assert(
      fc.property(document, (text) => {
        const merged = mergePolicy(text, sections, isOurs);
        expect(mergePolicy(merged, sections, isOurs)).toBe(merged);
        const [before, after] = [read(text), read(merged)];
        for (const name of ['grants', 'ssh'] as const) {
          const listed = (of: Record<string, unknown>): unknown[] => (of[name] ?? []) as unknown[];
          expect(listed(after).filter((entry) => !ownNames(entry))).toEqual(listed(before).filter((entry) => !ownNames(entry)));
          const own = listed(after).filter(ownNames);
          expect(own).toHaveLength(sections[name].length);
          expect(own).toEqual(expect.arrayContaining([...sections[name]]));
        }
        expect(after['other']).toEqual({ x: [1] });
        for (const note of text.match(/\/\/ note|\/\* \{ \[ , \*\//g) ?? []) expect(merged).toContain(note);
      }),
      { seed: 6, numRuns: 500 },
    );
  });
});

describe('a policy whose owner speaks of our tags too', () => {
  const MARK = 'tag:bifrost-customer-acme-0123456789abcdef';
  const ROUTER = 'tag:bifrost-router-acme-0123456789abcdef';
  const isMark = (tag: string): boolean => tag === MARK || tag === ROUTER;
  const member = { sourceTags: [MARK, 'tag:bifrost-book'], routerTag: ROUTER, config, books: [] };
  const ownerTags = ['tag:bifrost-book'];
  const wanted = compilePolicy({ shared: false, members: [member], ownerTags });
  const THEIRS = `{
  "tagOwners": { "tag:bifrost-book": ["group:ops"] },
  "groups": { "group:ops": [] },
  "autoApprovers": { "routes": { "10.0.0.0/8": ["tag:bifrost-book"] } },
  "grants": [{ "src": ["tag:bifrost-book"], "dst": ["10.1.0.0/24"], "ip": ["tcp:8000"] }] // theirs
}`;
  const whose = { isOurs, isMark };

  it('keeps their entries, owners and approvals of these tags, and takes ours out again to the letter', () => {
    const merged = read(mergePolicy(THEIRS, wanted, whose)) as Record<string, never>;
    expect(merged['tagOwners']).toEqual({ 'tag:bifrost-book': ['group:ops'], [MARK]: ownerTags, [ROUTER]: ownerTags });
    expect(merged['autoApprovers']).toEqual({ routes: { '10.0.0.0/8': ['tag:bifrost-book', ROUTER] } });
    expect(merged['grants']).toEqual(
      expect.arrayContaining([{ src: ['tag:bifrost-book'], dst: ['10.1.0.0/24'], ip: ['tcp:8000'] }, ...wanted.grants]),
    );
    const changed = compilePolicy({ shared: false, members: [{ ...member, config: { ...config, allowedNetworks: ['10.8.0.0/16'] } }], ownerTags });
    expect(mergePolicy(mergePolicy(THEIRS, wanted, whose), changed, whose)).not.toContain('10.128.0.0');
    const without = mergePolicy(mergePolicy(THEIRS, wanted, whose), NONE, whose);
    expect(without).toContain('// theirs');
    expect(read(without)).toEqual({ ...read(THEIRS), tests: [] });
  });

  it('the twin: where only we speak of them, all of these are ours', () => {
    const merged = read(mergePolicy(THEIRS, wanted, isOurs)) as Record<string, never>;
    expect(merged['tagOwners']).toEqual({ 'tag:bifrost-book': [], [MARK]: ownerTags, [ROUTER]: ownerTags });
    expect(merged['grants']).not.toEqual(expect.arrayContaining([{ src: ['tag:bifrost-book'], dst: ['10.1.0.0/24'], ip: ['tcp:8000'] }]));
  });
});
