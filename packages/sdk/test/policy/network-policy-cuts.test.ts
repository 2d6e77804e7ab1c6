import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NetworkPolicyShape } from '../../src/domain/network-policy-shape.ts';
import { type JudgedPod, judgeNetworkPolicy } from '../../src/domain/policy/judge-network-policy.ts';
import { CLUSTER_DNS, networkPoliciesOf, RELAY_PORTS, shapeOf } from '../../src/domain/policy/network-policies.ts';
import { cutBy } from '../../src/domain/policy/network-policy-cuts.ts';

const labels = { app: 'book', 'bifrost.dev/sidecar-id': 'f00d' };
const policy = (parts: Partial<NetworkPolicyShape> = {}): NetworkPolicyShape => ({
  ...{ name: 'p', podSelector: {}, policyTypes: ['Egress'], ingress: [], egress: [] },
  ...parts,
});
const ours = networkPoliciesOf({
  ...{ sidecarId: 'f00d', namespace: 'acme', ranges: { pods: ['10.244.0.0/16'], services: [], nodes: [] }, dns: [CLUSTER_DNS] },
  ingest: [{ at: [{ kind: 'networks', networks: ['10.96.0.9'] }], ports: [{ protocol: 'tcp', port: 8443 }] }],
  ...{ control: [], relays: [{ at: [{ kind: 'networks', networks: ['198.51.100.1'] }], ports: RELAY_PORTS }] },
}).map(shapeOf);
const block = (cidr: string, ...except: string[]) => ({ to: [{ ipBlock: { cidr, except } }] });

describe('cutBy', () => {
  it('a pod that no policy selects loses all that ours do not name, a row per protocol', () => {
    const dns = 'port 53 of pods k8s-app=kube-dns in namespaces kubernetes.io/metadata.name=kube-system';
    const expected = [
      { direction: 'egress', protocol: 'TCP', cut: `everything but port 443 of 198.51.100.1/32; ${dns}; port 8443 of 10.96.0.9/32` },
      {
        direction: 'egress',
        protocol: 'UDP',
        cut: `everything but every port of 0.0.0.0/0 but 10.244.0.0/16; port 3478 of 198.51.100.1/32; ${dns}`,
      },
      { direction: 'egress', protocol: 'SCTP', cut: 'everything' },
    ];
    expect(cutBy([], ours, labels)).toEqual(expected);
    expect(cutBy([policy({ podSelector: { matchLabels: { app: 'other' } } }), policy({ policyTypes: ['Ingress'] })], ours, labels)).toEqual(expected);
  });

  it.each<[string, readonly NetworkPolicyShape[]]>([
    ['is selected already, and closed', [policy()]],
    ['is selected already, and open', [policy({ egress: [{}] })]],
    ['has ours', ours],
  ])('a pod that %s loses nothing: policies add up', (_, existing) => {
    expect(cutBy(existing, ours, labels)).toEqual([]);
  });

  it('a pod that ours do not select loses nothing', () => {
    expect(cutBy([], ours, { app: 'other' })).toEqual([]);
  });

  it('ingress is a row only where ours speak of it', () => {
    expect(cutBy([], [policy({ policyTypes: ['Ingress'], ingress: [{ ports: [{ port: 80 }] }] })], labels)).toEqual([
      { direction: 'ingress', protocol: 'TCP', cut: 'everything but port 80 of any address' },
      { direction: 'ingress', protocol: 'UDP', cut: 'everything' },
      { direction: 'ingress', protocol: 'SCTP', cut: 'everything' },
    ]);
  });

  it('ours in place of an older one of the same name: what that named and the new one does not', () => {
    const older = policy({
      egress: [
        { ...block('10.0.0.0/8'), ports: [{ port: 80 }, { protocol: 'UDP' }] },
        block('192.0.2.0/24'),
        { to: [{ podSelector: { matchLabels: { app: 'x' } } }] },
      ],
    });
    const newer = policy({
      egress: [
        { ...block('10.0.0.0/8', '10.1.0.0/16'), ports: [{ port: 1, endPort: 99 }] },
        block('192.0.0.0/16'),
        { to: [{ podSelector: { matchLabels: { app: 'x' } } }] },
      ],
    });
    expect(cutBy([older], [newer], labels)).toEqual([
      { direction: 'egress', protocol: 'TCP', cut: 'port 80 of 10.0.0.0/8' },
      { direction: 'egress', protocol: 'UDP', cut: 'every port of 10.0.0.0/8' },
    ]);
    expect(cutBy([older, policy({ name: 'q', egress: [{}] })], [newer], labels)).toEqual([]);
  });

  it.each<[string, NetworkPolicyShape['egress'][number], NetworkPolicyShape['egress'][number], string | undefined]>([
    [
      'a range of which a part is left',
      { ports: [{ port: 80, endPort: 120 }] },
      { ports: [{ port: 1, endPort: 99 }] },
      'ports 80-120 of any address',
    ],
    ['a range that is left', { ports: [{ port: 80, endPort: 90 }] }, { ports: [{ port: 1, endPort: 99 }] }, undefined],
    ['a port by name, now by number', { ports: [{ port: 'web' }] }, { ports: [{ port: 80 }] }, 'port web of any address'],
    ['a network beside what is excepted', block('10.2.0.0/16'), block('10.0.0.0/8', '10.1.0.0/16'), undefined],
    ['a network with the same exception', block('10.0.0.0/8', '10.1.0.0/16'), block('10.0.0.0/8', '10.1.2.0/24'), undefined],
  ])('%s', (_, before, after, cut) => {
    const rows = cutBy([policy({ egress: [before] })], [policy({ egress: [after] })], labels);
    expect(rows.map((row) => row.cut)).toEqual(cut === undefined ? [] : [cut]);
  });

  it('says selectors as kubectl does', () => {
    const matchExpressions = [
      { key: 'a', operator: 'In', values: ['2', '1'] },
      { key: 'b', operator: 'NotIn', values: ['1'] },
      { key: 'c', operator: 'Exists' },
      { key: 'd', operator: 'DoesNotExist' },
    ];
    const peers = [{ podSelector: { matchExpressions } }, { namespaceSelector: {} }];
    const [row] = cutBy([], [policy({ egress: [{ to: peers, ports: [{ port: 5, endPort: 6 }] }] })], labels);
    expect(row?.cut).toBe(
      'everything but ports 5-6 of pods !d,a in (1,2),b notin (1),c in its own namespace; ports 5-6 of pods of every label in every namespace',
    );
  });

  it('leaves no loss out: where it has no row, whatever the judge let before it lets after', () => {
    const last = fc.integer({ min: 0, max: 7 });
    const cidr = fc.tuple(last, fc.integer({ min: 0, max: 3 })).map(([at, free]) => `10.0.0.${at & ~(2 ** free - 1)}/${32 - free}`);
    const peer = fc.oneof(
      fc.record({ ipBlock: fc.record({ cidr, except: fc.array(cidr, { maxLength: 1 }) }) }),
      fc.constant({ podSelector: { matchLabels: { a: '1' } } }),
    );
    const port = fc.oneof(
      fc.record({ protocol: fc.constantFrom('TCP', 'UDP'), port: fc.integer({ min: 1, max: 2 }) }),
      fc.constantFrom({ port: 1, endPort: 2 }, {}),
    );
    const few = { maxLength: 2 };
    const rules = fc.array(fc.record({ to: fc.array(peer, few), ports: fc.array(port, few) }), few);
    const one = fc
      .record({ name: fc.constantFrom('p', 'q'), egress: rules, podSelector: fc.constantFrom({}, { matchLabels: { app: 'other' } }) })
      .map((parts) => policy(parts));
    const policies = fc.uniqueArray(one, { maxLength: 2, selector: ({ name }) => name });
    const pod = (own: Readonly<Record<string, string>>, at: number): JudgedPod => ({
      namespace: 'n',
      namespaceLabels: {},
      labels: own,
      addresses: [{ family: 4, bytes: [10, 0, 0, at] }],
    });
    const seen = { lost: 0, none: 0 };
    fc.assert(
      fc.property(policies, policies, (existing, given) => {
        const after = [...existing.filter(({ name }) => !given.some((other) => other.name === name)), ...given];
        const reach = (
          all: readonly NetworkPolicyShape[],
          at: number,
          asked: { readonly protocol: 'TCP' | 'UDP'; readonly port: number },
        ): boolean => {
          const toPod = at < 4 ? { toPod: pod({ a: at < 2 ? '1' : '2' }, at) } : {};
          const packet = { from: pod(labels, 200), to: { family: 4 as const, bytes: [10, 0, 0, at] }, ...toPod, ...asked };
          return (
            judgeNetworkPolicy(
              all.map((shape) => ({ ...shape, namespace: 'n' })),
              packet,
            ).verdict === 'allowed'
          );
        };
        const rows = cutBy(existing, given, labels);
        for (const protocol of ['TCP', 'UDP'] as const) {
          const asked = [1, 2].flatMap((number) => [0, 1, 2, 3, 4, 5, 6, 7].map((at) => ({ at, packet: { protocol, port: number } })));
          const isLost = asked.some(({ at, packet }) => reach(existing, at, packet) && !reach(after, at, packet));
          if (isLost) expect(rows.some((row) => row.protocol === protocol)).toBe(true);
          seen[isLost ? 'lost' : 'none'] += 1;
        }
      }),
      { numRuns: 300 },
    );
    expect(Math.min(seen.lost, seen.none)).toBeGreaterThan(50);
  });
});
