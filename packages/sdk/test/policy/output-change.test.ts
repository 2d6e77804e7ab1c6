import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { liveGuardRules } from '../../src/domain/guard.ts';
import { compilePolicy } from '../../src/domain/policy/compile-policy.ts';
import { guardChange, policyChange } from '../../src/domain/policy/output-change.ts';
import { configuration } from './worlds.ts';

const compiled = (config: Parameters<typeof guardChange>[0]) =>
  compilePolicy({ members: [{ sourceTags: ['tag:bifrost-book'], routerTag: 'tag:bifrost-router', config, books: [] }], shared: false });

describe('what a change writes elsewhere', () => {
  it('names each rule and entry that comes and that goes', () => {
    const before = { allowedNetworks: ['10.0.0.0/8'], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false } as const;
    const after = { ...before, blockedNetworks: ['10.128.0.0/9'] };
    expect(guardChange(before, after)).toEqual({ output: 'guard', added: ['5100 to 10.128.0.0/9 prohibit'], removed: [] });
    const policy = policyChange(compiled(before), compiled(after));
    expect(policy?.removed).toContain('grants {"src":["tag:bifrost-book"],"dst":["10.0.0.0/8"],"ip":["*"]}');
    expect(policy?.added).toContain('grants {"src":["tag:bifrost-book"],"dst":["10.0.0.0/9"],"ip":["*"]}');
    expect(policy?.added).toContain('tests {"src":"tag:bifrost-book","accept":["10.0.0.0:443"],"deny":["10.128.0.0:443"]}');
  });

  it('is nothing where nothing changes, and its own reverse the other way round', () => {
    fc.assert(
      fc.property(configuration, configuration, (one, other) => {
        expect([guardChange(one, { ...one }), policyChange(compiled(one), compiled({ ...one }))]).toEqual([undefined, undefined]);
        const [forth, back] = [guardChange(one, other), guardChange(other, one)];
        expect([forth?.added, forth?.removed]).toEqual([back?.removed, back?.added]);
      }),
      { seed: 6, numRuns: 200 },
    );
  });

  it('added to what was there, and what goes taken out, is what is there then', () => {
    const rules = (config: Parameters<typeof guardChange>[0]): readonly string[] =>
      [...new Set(liveGuardRules(config).map(({ preference, selector, action }) => `${preference} ${selector} ${action}`))].sort();
    fc.assert(
      fc.property(configuration, configuration, (one, other) => {
        const change = guardChange(one, other);
        const kept = rules(one).filter((rule) => change?.removed.includes(rule) !== true);
        expect([...kept, ...(change?.added ?? [])].sort()).toEqual(rules(other));
      }),
      { seed: 6, numRuns: 200 },
    );
  });
});
