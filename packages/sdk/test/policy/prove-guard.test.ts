import { formatAddress, parseAddress } from '@bifrost/types/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressPoints, rangesOf } from '../../src/domain/policy/address-points.ts';
import { JudgedGuard, type ReadRule, ruleLine, rulesOfLines, rulesOfOrder, ruleText, withOrder } from '../../src/domain/policy/judge-guard.ts';
import type { GuardEvidence, SettingsEvidence, TailnetEvidence } from '../../src/domain/policy/proof-evidence.ts';
import { guardFaults, proveGuard } from '../../src/domain/policy/prove-guard.ts';
import { CLUSTER, keyOf, readBack } from './evidence.ts';
import { ADDRESSES, configuration, customerOf, isIn } from './worlds.ts';

/** And what lies in the cluster, among devices, and at the ends of what rules speak of. */
const ASKED = [
  ...ADDRESSES,
  ...['10.0.0.17', '10.96.0.1', '10.111.255.255', '10.112.0.0', '10.244.0.1', '10.245.0.0', '100.63.255.255', '100.64.0.1', '100.127.255.255'],
  ...['100.128.0.0', '192.168.65.1', '169.254.0.0', '169.255.0.0', '0.0.0.0', '255.255.255.255', '10.243.255.255', '10.95.255.255', '9.255.255.255'],
  ...[
    '::',
    'fd7a:115c:a1e0::1',
    'fd7a:115c:a1e0:ffff::',
    '10.244.255.255',
    '169.254.255.255',
    '192.168.65.0',
    'fd7a:115c:a1e1::',
    'fd7a:115c:a1df:ffff::',
    'fd00::10',
    'fd00::11',
  ],
];

/** A guard of one customer, and what it is to hold. */
function guardOf(config: Parameters<typeof customerOf>[1]) {
  const customer = customerOf('a', config, 0);
  const read = readBack([customer]);
  const key = keyOf(customer);
  const at = <Value>(byKey: Readonly<Record<string, Value>> | undefined, name: string): Value => {
    const value = byKey?.[name];
    if (value === undefined) throw new Error('not read');
    return value;
  };
  return {
    settings: at(read.settings, 'manager'),
    tailnet: at(read.tailnet, 'a'),
    sidecar: at(read.sidecar, key),
    workload: at(read.workload, key),
    agents: at(read.agents, key),
  };
}
const rulesOf = (config: Parameters<typeof customerOf>[1]): readonly ReadRule[] => rulesOfLines(guardOf(config).workload.guard?.rules ?? []);

/** Where a packet goes, by walking the list: no table, no arithmetic of the judge's. */
function naive(rules: readonly ReadRule[], address: string, tunnelUp: boolean): string {
  const family = address.includes(':') ? 6 : 4;
  const order = (action: string): number => (action === 'prohibit' ? 1 : 0);
  const chain = [...rules].sort((a, b) => a.preference - b.preference || order(a.action) - order(b.action));
  for (const { family: of, selector, action } of chain) {
    if (of !== family || selector.startsWith('fwmark')) continue;
    if (selector.startsWith('to ') && !isIn(address, selector.slice(3))) continue;
    if (action === 'prohibit') return 'denied';
    if (action === 'lookup main') return 'clear';
    if (tunnelUp) return 'tailnet';
  }
  return tunnelUp ? 'tailnet' : 'clear';
}

/** What is wrong with where it goes, said in words of the intent alone. */
function wrong(rules: readonly ReadRule[], tailnet: TailnetEvidence, address: string): boolean {
  const within = (ranges: readonly string[]): boolean => ranges.some((range) => isIn(address, range));
  const [up, down] = [naive(rules, address, true), naive(rules, address, false)];
  if (within([...CLUSTER.pods, ...CLUSTER.services])) return up === 'tailnet';
  if (within(CLUSTER.nodes)) return false;
  if (within(tailnet.blockedNetworks)) return up !== 'denied' || down !== 'denied';
  if (within([...tailnet.allowedNetworks, '100.64.0.0/10', 'fd7a:115c:a1e0::/48'])) return up === 'clear' || down === 'clear';
  return tailnet.accessPolicy !== 'permissive' && up === 'tailnet';
}

/** Every small change of one rule that somebody could make by hand. */
function rulesMutated(
  rules: readonly ReadRule[],
): readonly { readonly what: string; readonly rules: readonly ReadRule[]; readonly rule: ReadRule }[] {
  return rules.flatMap((rule, index) => {
    const become = (what: string, ...others: readonly ReadRule[]) => ({
      what,
      rule,
      rules: [...rules.slice(0, index), ...others, ...rules.slice(index + 1)],
    });
    const [network = '', bits = '0'] = rule.selector.replace('to ', '').split('/');
    const ranged = rule.selector.startsWith('to ');
    return [
      become('taken out'),
      ...['lookup main', 'lookup 52', 'prohibit']
        .filter((action) => action !== rule.action)
        .map((action) => become(`now ${action}`, { ...rule, action })),
      become('moved to the end', { ...rule, preference: 5199 }),
      become('moved to the front', { ...rule, preference: 5001 }),
      ...(ranged && Number(bits) > 1 ? [become('twice as wide', { ...rule, selector: `to ${network}/${Number(bits) - 1}` })] : []),
      ...(ranged ? [become('half as wide', { ...rule, selector: `to ${network}/${Math.min(Number(bits) + 1, rule.family === 4 ? 32 : 128)}` })] : []),
    ];
  });
}

describe('the judge of a guard', () => {
  it('sends each packet where walking the rules does', () => {
    fc.assert(
      fc.property(configuration, (config) => {
        const rules = rulesOf(config);
        expect(rules.length).toBeGreaterThan(5);
        for (const mutated of [rules, ...rulesMutated(rules).map((each) => each.rules)].slice(0, 40)) {
          const guard = new JudgedGuard(mutated);
          for (const text of ASKED) {
            const address = parseAddress(text);
            if (address === undefined) throw new Error(text);
            for (const tunnelUp of [true, false])
              expect([text, guard.judge(address, { tunnelUp }).goes]).toEqual([text, naive(mutated, text, tunnelUp)]);
          }
        }
      }),
      { seed: 6, numRuns: 12 },
    );
  });

  it('reads an order as the guard’s own program carries one out', () => {
    fc.assert(
      fc.property(configuration, (config) => {
        const rules = rulesOf(config);
        expect(new Set(withOrder(rules, config).map((rule) => `${rule.family} ${ruleText(rule)}`))).toEqual(
          new Set(rules.map((rule) => `${rule.family} ${ruleText(rule)}`)),
        );
      }),
      { seed: 6, numRuns: 100 },
    );
    const nothing = new JudgedGuard(rulesOfOrder({ allowedNetworks: ['10.0.0.0/8'], blockedNetworks: [], accessPolicy: 'quarantine' }));
    for (const tunnelUp of [true, false]) expect(nothing.judge({ family: 4, bytes: [10, 0, 0, 1] }, { tunnelUp }).goes).toBe('denied');
  });

  it('asks for an address of each part of the address space', () => {
    expect(addressPoints(rangesOf(['10.0.0.0/8', '10.1.0.0/16', '255.0.0.0/8', 'ffff::/16'])).map(formatAddress)).toEqual([
      ...['0.0.0.0', '10.0.0.0', '10.1.0.0', '10.2.0.0', '11.0.0.0', '255.0.0.0', '::', 'ffff::'],
    ]);
  });
});

describe('the proof of a guard', () => {
  it('holds for what is rendered, whatever the intent', () => {
    fc.assert(
      fc.property(configuration, (config) => {
        expect(proveGuard(guardOf(config))).toEqual({ faults: [], reservations: [] });
      }),
      { seed: 6, numRuns: 150 },
    );
  });

  it('finds a change of a rule exactly where some packet goes elsewhere than it is meant to', () => {
    let [found, harmless] = [0, 0];
    fc.assert(
      fc.property(configuration, (config) => {
        const { settings, tailnet } = guardOf(config);
        for (const { what, rule, rules } of rulesMutated(rulesOf(config))) {
          const faults = guardFaults(rules, { settings, tailnet });
          const isWrong = ASKED.some((address) => wrong(rules, tailnet, address));
          expect([what, ruleText(rule), faults.length > 0]).toEqual([what, ruleText(rule), isWrong]);
          if (isWrong) found += 1;
          else harmless += 1;
        }
      }),
      { seed: 6, numRuns: 8 },
    );
    expect(found).toBeGreaterThan(100);
    expect(harmless).toBeGreaterThan(100);
  });

  it('finds every change of a rule, also a harmless one, since it is not what was put in; and names the rule', () => {
    fc.assert(
      fc.property(configuration, (config) => {
        const question = guardOf(config);
        const guard = question.workload.guard as GuardEvidence;
        for (const { what, rule, rules } of rulesMutated(rulesOfLines(guard.rules))) {
          if (new Set(rules.map(ruleLine)).symmetricDifference(new Set(guard.rules)).size === 0) continue;
          const { faults } = proveGuard({
            ...question,
            workload: { ...question.workload, guard: { ...guard, rules: rules.map(ruleLine), sha256: 'another' } },
          });
          expect([what, faults.map(({ by }) => by)]).toEqual([what, expect.arrayContaining([expect.stringContaining(ruleText(rule))])]);
        }
      }),
      { seed: 6, numRuns: 15 },
    );
  });

  const config = {
    allowedNetworks: ['10.0.0.0/8'],
    blockedNetworks: ['10.9.0.0/16', '169.254.0.0/16'],
    accessPolicy: 'restrictive',
    enableLogging: false,
  } as const;
  const question = guardOf(config);
  const guard = question.workload.guard as GuardEvidence;
  const alike = (rules: readonly ReadRule[]) => ({
    ...question,
    workload: { ...question.workload, guard: { ...guard, rules: rules.map(ruleLine), live: false } },
    sidecar: { ...question.sidecar, guards: [{ ...guard, rules: rules.map(ruleLine), live: false }] },
  });

  it.each<[string, (rule: ReadRule) => boolean, string, string]>([
    ['a blocked network goes into the tailnet', ({ selector }) => selector !== 'to 10.9.0.0/16', 'blocked-open', '5110 to 10.0.0.0/8 lookup 52'],
    ['a blocked network leaves in clear', ({ selector }) => selector !== 'to 169.254.0.0/16', 'blocked-open', '5130 from all lookup main'],
    [
      'an allowed network leaves in clear when tailscaled is dead',
      ({ preference, selector }) => preference !== 5120 || selector !== 'to 10.0.0.0/8',
      'fails-open',
      '5130 from all lookup main',
    ],
    [
      'the cluster’s own goes into the tailnet',
      ({ selector }) => selector !== 'to 10.96.0.0/12',
      'cluster-into-tailnet',
      '5110 to 10.0.0.0/8 lookup 52',
    ],
    ['whatever a router offers is reached', ({ preference }) => preference !== 5130, 'beyond-allowed', 'no rule for 0.0.0.0'],
  ])('says what is open: %s', (_, kept, kind, by) => {
    expect(proveGuard(alike(rulesOfLines(guard.rules).filter(kept))).faults).toContainEqual({ kind, by });
  });

  const withSettings = (change: Partial<SettingsEvidence>) => ({ ...question, settings: { ...question.settings, ...change } });
  const withBook = (add: readonly string[], drop: readonly string[], privileged = false) => ({
    ...question,
    workload: { ...question.workload, containers: [{ name: 'shop', privileged, add, drop }] },
  });
  it.each([
    ['a book with NET_ADMIN', withBook(['NET_ADMIN'], ['ALL']), 'cooperative', 'book-may-bypass'],
    ['a book with CAP_NET_RAW', withBook(['CAP_NET_RAW'], ['ALL']), 'cooperative', 'book-may-bypass'],
    ['a book that keeps what runtimes give it', withBook([], []), 'cooperative', 'book-may-bypass'],
    ['a privileged book', withBook([], ['ALL'], true), 'cooperative', 'book-may-bypass'],
    ['a cluster whose ranges nobody knows', withSettings({ clusterRanges: undefined } as never), 'unproven', 'ranges-unknown'],
    ['an agent that has not been heard', { ...question, agents: [{ podName: 'p', heard: false }] }, 'unproven', 'guard-unheard'],
    ['a guard that holds another order', { ...question, agents: [{ podName: 'p', heard: true, holds: 'other' }] }, 'unproven', 'guard-outdated'],
    ['a pod in the node’s network', { ...question, workload: { ...question.workload, hostNetwork: true } }, 'unproven', 'node-network'],
  ] as const)('rests on less with %s', (_, asked, assurance, reason) => {
    expect(proveGuard(asked)).toEqual({ faults: [], reservations: [{ assurance, reason }] });
  });

  it('of a sidecar in quarantine wants guards that hold something else than the tailnet’s own', () => {
    const quarantined = { ...question, sidecar: { ...question.sidecar, quarantined: true } };
    expect(proveGuard(quarantined).reservations).toEqual([{ assurance: 'unproven', reason: 'guard-outdated' }]);
    expect(proveGuard({ ...quarantined, agents: [{ podName: 'p', heard: true, holds: 'nothing' }] }).reservations).toEqual([]);
  });

  it('a book that has dropped NET_RAW alone is held', () => expect(proveGuard(withBook([], ['NET_RAW'])).reservations).toEqual([]));

  it('finds a template without a guard, with another program, and with containers that start before it', () => {
    const { guard: _, ...bare } = question.workload;
    expect(proveGuard({ ...question, workload: bare }).faults).toEqual([{ kind: 'guard-missing', by: expect.any(String) }]);
    const other = { ...question.workload, guard: { ...guard, sha256: 'another' } };
    expect(proveGuard({ ...question, workload: other }).faults).toEqual([{ kind: 'guard-altered', by: 'the container' }]);
    const late = proveGuard({ ...question, workload: { ...question.workload, guardAt: 1 } });
    expect(late.faults).toEqual([{ kind: 'guard-altered', by: 'other containers start before it' }]);
  });

  it('of userspace mode wants policies that deny clear egress, and a cluster that enforces them', () => {
    const userspace = {
      ...question,
      sidecar: { ...question.sidecar, userspace: true },
      workload: { ...question.workload, guard: { ...guard, rules: [], live: false, sha256: 'u' } },
    };
    const own = { ...userspace, sidecar: { ...userspace.sidecar, guards: [userspace.workload.guard] } };
    const enforced = { ...own, settings: { ...own.settings, networkPolicyEnforced: true } };
    const denying = [{ name: 'deny', podSelector: {}, policyTypes: ['Egress'], ingress: [], egress: [] }];
    expect(proveGuard(own).faults).toEqual([{ kind: 'userspace-unguarded', by: 'networkPolicyEnforced' }]);
    expect(proveGuard(enforced).reservations).toEqual([{ assurance: 'unproven', reason: 'network-policies-unread' }]);
    expect(proveGuard({ ...enforced, policies: [] }).faults).toEqual([{ kind: 'userspace-unguarded', by: 'NetworkPolicies of its namespace' }]);
    expect(proveGuard({ ...enforced, policies: denying })).toEqual({ faults: [], reservations: [] });
  });
});
