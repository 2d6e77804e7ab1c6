import { cidrContains, formatAddress, parseAddress, parseCidr } from '@bifrost/types/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clearEgress } from '../src/domain/clear-egress.ts';
import { TAILNET_NETWORKS } from '../src/domain/guard.ts';
import type { NetworkPolicyShape } from '../src/domain/network-policy-shape.ts';

const labels = { app: 'book', tier: 'front' };
const networks = ['10.0.0.0/8', '192.168.0.0/16', 'fd00:1::/32', ...TAILNET_NETWORKS];
const clusterRanges = { pods: ['10.244.0.0/16'], services: ['10.96.0.0/12'], nodes: ['10.250.0.1/32'] };
const policy = (parts: Partial<NetworkPolicyShape> = {}): NetworkPolicyShape => ({
  name: 'p',
  podSelector: {},
  policyTypes: ['Egress'],
  ingress: [],
  egress: [],
  ...parts,
});
const to = (cidr: string, ...except: string[]) => ({ to: [{ ipBlock: { cidr, except } }] });
const judge = (...policies: NetworkPolicyShape[]): string => clearEgress(policies, { labels, networks, clusterRanges });
/** All of IPv4 but the networks. */
const internet = to('0.0.0.0/0', '10.0.0.0/8', '192.168.0.0/16', '100.64.0.0/10');

describe('clearEgress', () => {
  const denied: readonly [string, readonly NetworkPolicyShape[]][] = [
    ['no egress at all', [policy()]],
    ['the Internet and nothing else', [policy({ egress: [internet] })]],
    ['pods and namespaces, which lie in the cluster', [policy({ egress: [{ to: [{}] }] })]],
    ['the cluster’s own ranges inside an allowed network', [policy({ egress: [to('10.96.0.0/12'), to('10.244.3.0/24'), to('10.250.0.1/32')] })]],
    ['an address outside', [policy({ egress: [to('203.0.113.7/32')] })]],
    ['a network, all of which is excepted in pieces', [policy({ egress: [to('192.168.0.0/16', '192.168.0.0/17', '192.168.128.0/17')] })]],
    [
      'selection by expressions',
      [
        policy({
          podSelector: {
            matchExpressions: [
              { key: 'app', operator: 'In', values: ['x', 'book'] },
              { key: 'gone', operator: 'DoesNotExist' },
            ],
          },
        }),
      ],
    ],
    ['a wide policy that does not select it', [policy(), policy({ podSelector: { matchLabels: { app: 'other' } }, egress: [{}] })]],
    ['a wide policy for ingress only', [policy(), policy({ policyTypes: ['Ingress'], egress: [{}] })]],
  ];
  it.each(denied)('%s is denied', (_, policies) => {
    expect(judge(...policies)).toBe('denied');
  });

  const possible: readonly [string, readonly NetworkPolicyShape[]][] = [
    ['no policy', []],
    ['none that selects the pod', [policy({ podSelector: { matchLabels: { app: 'other' } } })]],
    [
      'none that selects the pod by expression',
      [policy({ podSelector: { matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['front'] }] } })],
    ],
    ['ingress policies only', [policy({ policyTypes: ['Ingress'] })]],
    ['a rule without destinations', [policy({ egress: [{}] })]],
    ['a rule with an empty list of destinations, as in the specification', [policy({ egress: [{ to: [] }] })]],
    ['one address of an allowed network', [policy({ egress: [to('10.1.2.3/32')] })]],
    ['a network around an allowed one', [policy({ egress: [to('192.0.0.0/8')] })]],
    ['all but a part', [policy({ egress: [to('10.0.0.0/8', '10.0.0.0/9')] })]],
    ['the tailnets’ own range', [policy({ egress: [to('100.100.0.0/16')] })]],
    ['IPv6', [policy({ egress: [internet, to('::/0')] })]],
    ['another policy that lets it: they add up', [policy(), policy({ egress: [to('10.1.0.0/24')] })]],
    ['an egress rule without types', [policy({ policyTypes: [], egress: [to('10.1.0.0/24')] })]],
  ];
  it.each(possible)('%s leaves it possible', (_, policies) => {
    expect(judge(...policies)).toBe('possible');
  });

  it('the cluster’s own addresses count when nobody says which they are', () => {
    const policies = [policy({ egress: [to('10.96.0.0/12')] })];
    expect(clearEgress(policies, { labels, networks })).toBe('possible');
  });

  it('agrees with asking for every single address', () => {
    // A small world: every range lies in 10.0.0.0/27, so all addresses can be asked.
    const range = fc
      .tuple(fc.integer({ min: 0, max: 31 }), fc.integer({ min: 27, max: 32 }))
      .map(([last, prefix]) => `10.0.0.${last & ~(2 ** (32 - prefix) - 1)}/${prefix}`);
    const block = fc.record({ cidr: range, except: fc.array(range, { maxLength: 3 }) });
    const rule = fc.oneof(fc.record({ to: fc.array(fc.record({ ipBlock: block }), { maxLength: 2 }) }), fc.constant({}), fc.constant({ to: [{}] }));
    const expression = fc.record({
      key: fc.constantFrom('a', 'b'),
      operator: fc.constantFrom('In', 'NotIn', 'Exists', 'DoesNotExist'),
      values: fc.subarray(['1', '2']),
    });
    const selector = fc.record({
      matchLabels: fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom('1', '2'), { maxKeys: 2 }),
      matchExpressions: fc.array(expression, { maxLength: 2 }),
    });
    const policies = fc.array(
      fc.record({
        name: fc.constant('p'),
        podSelector: selector,
        policyTypes: fc.subarray(['Ingress', 'Egress'], { minLength: 1 }),
        ingress: fc.constant([]),
        egress: fc.array(rule, { maxLength: 3 }),
      }),
      { maxLength: 3 },
    );
    const own = fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom('1', '2'), { maxKeys: 2 });
    const ranges = fc.array(range, { maxLength: 2 });
    fc.assert(
      fc.property(policies, own, ranges, ranges, (given, podLabels, wanted, cluster) => {
        const asked = { labels: podLabels, networks: wanted, clusterRanges: { pods: cluster, services: [], nodes: [] } };
        expect(clearEgress(given, asked)).toBe(naive(given, podLabels, { wanted, cluster }));
      }),
      { numRuns: 500 },
    );
  });
});

/** Kubernetes' own words, address by address. */
function naive(
  policies: readonly NetworkPolicyShape[],
  podLabels: Readonly<Record<string, string>>,
  { wanted, cluster }: { wanted: readonly string[]; cluster: readonly string[] },
): string {
  const isIn = (address: string, cidr: string): boolean => {
    const [range, parsed] = [parseCidr(cidr), parseAddress(address)];
    return range !== undefined && parsed !== undefined && cidrContains(range, parsed);
  };
  const selecting = policies.filter(({ podSelector, policyTypes }) => {
    const { matchLabels = {}, matchExpressions = [] } = podSelector;
    const byLabel = Object.keys(matchLabels).every((key) => podLabels[key] === matchLabels[key]);
    const byExpression = matchExpressions.every(({ key, operator, values = [] }) => {
      const has = key in podLabels;
      const among = values.includes(podLabels[key] ?? '');
      return { In: has && among, NotIn: !has || !among, Exists: has, DoesNotExist: !has }[operator];
    });
    return policyTypes.includes('Egress') && byLabel && byExpression;
  });
  if (selecting.length === 0) return 'possible';
  for (let last = 0; last < 32; last += 1) {
    const address = formatAddress({ family: 4, bytes: [10, 0, 0, last] });
    if (!wanted.some((cidr) => isIn(address, cidr)) || cluster.some((cidr) => isIn(address, cidr))) continue;
    const lets = selecting.some(({ egress }) =>
      egress.some(
        ({ to: peers }) =>
          peers === undefined ||
          peers.length === 0 ||
          peers.some(
            ({ ipBlock }) => ipBlock !== undefined && isIn(address, ipBlock.cidr) && !(ipBlock.except ?? []).some((cidr) => isIn(address, cidr)),
          ),
      ),
    );
    if (lets) return 'possible';
  }
  return 'denied';
}
