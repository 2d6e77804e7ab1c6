import { BifrostError, parseAddress } from '@bifrost/types/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EgressRuleShape, NetworkPolicyShape } from '../../src/domain/network-policy-shape.ts';
import { judgeEvidence } from '../../src/domain/policy/judge-evidence.ts';
import { type JudgedPod, judgeNetworkPolicy } from '../../src/domain/policy/judge-network-policy.ts';
import { CLUSTER_DNS, type NetworkPoliciesInput, networkPoliciesOf, RELAY_PORTS, shapeOf } from '../../src/domain/policy/network-policies.ts';
import type { PodEvidence } from '../../src/domain/policy/proof-evidence.ts';
import { proveNetworkPolicies } from '../../src/domain/policy/prove-network-policies.ts';
import { inputsOf, type Read, readBack } from './evidence.ts';
import { mutationsOf } from './mutations.ts';
import * as world from './pods-by-packet.ts';
import { customerOf, digest } from './worlds.ts';

const ranges = { pods: ['10.244.0.0/16'], services: ['10.96.0.0/12'], nodes: ['192.0.2.1/32'] };
const inputFor = (namespace: string): NetworkPoliciesInput => ({
  ...{ sidecarId: `sidecar-${namespace}`, namespace, ranges, dns: [CLUSTER_DNS] },
  ingest: [
    {
      at: [{ kind: 'pods', namespaceLabels: { 'kubernetes.io/metadata.name': 'bifrost' }, podLabels: { app: 'bifrost' } }],
      ports: [{ protocol: 'tcp', port: 8443 }],
    },
  ],
  control: [{ at: [{ kind: 'networks', networks: ['198.51.100.1'] }], ports: [{ protocol: 'tcp', port: 443 }] }],
  relays: [{ at: [{ kind: 'networks', networks: ['198.51.100.64/28'] }], ports: RELAY_PORTS }],
});
const shapes = (namespace: string): readonly NetworkPolicyShape[] => networkPoliciesOf(inputFor(namespace)).map(shapeOf);

const podOf = (namespace: string, at: number): PodEvidence => ({
  ...{ namespace, name: `shop-${at}`, customerId: namespace, addresses: [`10.244.1.${at}`] },
  labels: { app: 'shop', 'bifrost.dev/sidecar-id': `sidecar-${namespace}` },
});
const pods = [podOf('a', 1), podOf('b', 2), podOf('c', 3), podOf('a', 4)];
const written = new Map(['a', 'b', 'c'].map((namespace) => [namespace, shapes(namespace)]));
const found = (policies: ReadonlyMap<string, readonly NetworkPolicyShape[]>, of: readonly PodEvidence[] = pods) =>
  [...proveNetworkPolicies(of, policies, 100)].filter((finding) => finding !== undefined);

type Make = (namespace: string) => NetworkPolicyShape;
const theirs = { name: 'theirs', podSelector: {}, ingress: [], egress: [] };
const DNS_ANYWHERE: Make = () => ({ ...theirs, policyTypes: ['Egress'], egress: [{ ports: [{ protocol: 'UDP', port: 53 }] }] });
const SERVED: Make = () => ({
  ...theirs,
  policyTypes: ['Ingress'],
  ingress: [{ ports: [{ port: 8080 }, { protocol: 'UDP', port: 54, endPort: 60 }] }],
});
const ALL_OUT: Make = () => ({ ...theirs, policyTypes: ['Egress'], egress: [{}] });
const OWN_IN: Make = (namespace) => ({
  ...{ ...theirs, policyTypes: ['Ingress'] },
  ingress: [{ from: [{ namespaceSelector: { matchLabels: { 'bifrost.dev/customer-id': namespace } } }] }],
});

/** Without rules for addresses of IPv6. */
const isOfFour = ({ to = [] }: EgressRuleShape): boolean => !JSON.stringify(to).includes('::');

const judged = ({ addresses, ...pod }: PodEvidence): JudgedPod => ({
  ...pod,
  namespaceLabels: { 'kubernetes.io/metadata.name': pod.namespace, 'bifrost.dev/customer-id': pod.namespace },
  addresses: addresses.map((text) => {
    const address = parseAddress(text);
    if (address === undefined) throw new BifrostError({ code: 'INTERNAL', message: text });
    return address;
  }),
});

/** Each packet that anybody could send, one by one. */
function pairsByPacket(policies: ReadonlyMap<string, readonly NetworkPolicyShape[]>): ReadonlySet<string> {
  const all = [...policies].flatMap(([namespace, of]) => of.map((policy) => ({ ...policy, namespace })));
  const open = new Set<string>();
  for (const from of pods) {
    for (const to of pods) {
      if (from.customerId === to.customerId) continue;
      for (const protocol of ['TCP', 'UDP', 'SCTP'] as const) {
        for (const port of [1, 52, 53, 54, 80, 443, 444, 3478, 3479, 8080, 8443, 8444, 41641, 65_535]) {
          const [toPod] = [judged(to)];
          const [address] = toPod.addresses;
          if (address === undefined) continue;
          const { verdict } = judgeNetworkPolicy(all, { from: judged(from), to: address, toPod, protocol, port });
          if (verdict === 'allowed') open.add(`${from.customerId}>${to.customerId}`);
        }
      }
    }
  }
  return open;
}
const pairsOf = (findings: ReturnType<typeof found>): ReadonlySet<string> =>
  new Set(findings.map(({ customerId, otherCustomerId }) => `${customerId}>${otherCustomerId}`));

describe('pods of different customers under NetworkPolicies that were read back', () => {
  it('do not reach each other under ours', () => {
    expect(found(written)).toEqual([]);
    expect(pairsByPacket(written).size).toBe(0);
  });

  it('reach each other without any, and that says who and how', () => {
    const findings = found(new Map());
    expect(pairsOf(findings)).toEqual(new Set(['a>b', 'a>c', 'b>a', 'b>c', 'c>a', 'c>b']));
    expect(findings[0]).toEqual({
      ...{ kind: 'reaches-other-pod', customerId: 'a', otherCustomerId: 'b', by: 'no policy', where: 'pod a/shop-1 to b/shop-2' },
    });
  });

  it('are found out for every small change of ours exactly where a packet passes', () => {
    let [open, closed] = [0, 0];
    for (const { what, mutated } of mutationsOf(shapes('a'))) {
      const policies = new Map([...written, ['a', mutated] as const]);
      const expected = pairsByPacket(policies);
      expect([what, pairsOf(found(policies))]).toEqual([what, expected]);
      if (expected.size > 0) open += 1;
      else closed += 1;
    }
    expect(open).toBeGreaterThan(0);
    expect(closed).toBeGreaterThan(0);
  });

  it('are found out by a foreign policy that selects another customer’s namespace by a label', () => {
    const egress = [{ to: [{ namespaceSelector: { matchLabels: { 'bifrost.dev/customer-id': 'b' } } }], ports: [{ protocol: 'TCP', port: 5432 }] }];
    const foreign: NetworkPolicyShape = { name: 'theirs', podSelector: {}, policyTypes: ['Egress'], ingress: [], egress };
    const findings = found(new Map([...written, ['a', [...shapes('a'), foreign]] as const]));
    expect(findings).toEqual([expect.objectContaining({ customerId: 'a', otherCustomerId: 'b', by: 'a/theirs' })]);
  });

  it('are held to be reached where a policy asks for a label of namespaces that is not known here', () => {
    const egress = [{ to: [{ namespaceSelector: { matchLabels: { team: 'ours' } } }] }];
    const foreign: NetworkPolicyShape = { name: 'theirs', podSelector: {}, policyTypes: ['Egress'], ingress: [], egress };
    expect(pairsOf(found(new Map([...written, ['a', [...shapes('a'), foreign]] as const])))).toEqual(new Set(['a>b', 'a>c']));
  });

  /** Beside ours in the namespace of `a`: what one rule of somebody else's lets out. */
  const withForeign = (rule: EgressRuleShape) =>
    new Map([
      ...written,
      ['a', [...shapes('a'), { name: 'theirs', podSelector: {}, policyTypes: ['Egress'], ingress: [], egress: [rule] }]] as const,
    ]);
  const [aToB, theirs] = [new Set(['a>b']), [expect.objectContaining({ by: 'a/theirs' })]];

  it('bug: were apart where a rule names a port of the other’s pod, whose number is not known here', () => {
    const to = [{ namespaceSelector: { matchLabels: { 'bifrost.dev/customer-id': 'b' } } }];
    const open = withForeign({ to, ports: [{ protocol: 'TCP', port: 'http' }] });
    expect(found(open)).toEqual(theirs);
    expect(pairsOf(found(open))).toEqual(aToB);
    // Where the other lets nobody in, no name opens anything; by UDP, the protocol of its own rule.
    const shut: NetworkPolicyShape = {
      ...{ name: 'shut', podSelector: {}, policyTypes: ['Ingress'], egress: [] },
      ingress: [{ ports: [{ protocol: 'UDP', port: 'dns' }] }],
    };
    expect(found(new Map([...open, ['b', [...shapes('b'), shut]]]))).toEqual([]);
  });

  it('bug: were apart where a rule names the address of any replica but the first', () => {
    const replicas = [...pods, podOf('b', 5), podOf('b', 6)];
    for (const at of [2, 5, 6])
      expect(pairsOf(found(withForeign({ to: [{ ipBlock: { cidr: `10.244.1.${at}/32` } }] }), replicas)), `${at}`).toEqual(aToB);
    expect(found(withForeign({ to: [{ ipBlock: { cidr: '10.244.1.7/32' } }] }), replicas)).toEqual([]);
    expect(
      found(withForeign({ to: [{ ipBlock: { cidr: '10.244.1.0/24', except: ['10.244.1.2/31', '10.244.1.5/32', '10.244.1.6/32'] } }] }), replicas),
    ).toEqual([]);
  });

  it('bug: were apart where only the second address of a pod is reached', () => {
    const dual = [1, 2].map((at) => ({ ...podOf(at === 1 ? 'a' : 'b', at), addresses: [`10.244.1.${at}`, `fd00:244::${at}`] }));
    const closed = new Map(
      [...written].map(([namespace, of]) => [namespace, of.map((policy) => ({ ...policy, egress: policy.egress.filter(isOfFour) }))] as const),
    );
    const opened = (cidr: string) =>
      found(
        new Map([
          ...closed,
          ['a', [...(closed.get('a') ?? []), ...(withForeign({ to: [{ ipBlock: { cidr } }] }).get('a') ?? []).slice(-1)]] as const,
        ]),
        dual,
      );
    expect(found(closed, dual)).toEqual([]);
    expect(pairsOf(opened('fd00:244::/64'))).toEqual(aToB);
    expect(opened('fd00:244::1:0/112')).toEqual([]);
    // Ours for a cluster that has told no range of IPv6 open nothing there.
    expect(found(written, dual)).toEqual([]);
    const all = opened('::/0');
    expect(pairsOf(all)).toEqual(aToB);
    // Who has no address of IPv6 sends nothing there.
    const [one, two] = dual;
    if (one === undefined || two === undefined) throw new BifrostError({ code: 'INTERNAL', message: 'no pods' });
    expect(found(withForeign({ to: [{ ipBlock: { cidr: '::/0' } }] }), [{ ...one, addresses: one.addresses.slice(0, 1) }, two])).toEqual([]);
  });

  it('reach each other where a rule asks that a label be absent which every object of a program has', () => {
    const podSelector = { matchExpressions: [{ key: 'constructor', operator: 'DoesNotExist' }] };
    const to = [{ namespaceSelector: { matchLabels: { 'bifrost.dev/customer-id': 'b' } }, podSelector }];
    expect(pairsOf(found(withForeign({ to })))).toEqual(aToB);
  });

  it('reach each other exactly where a packet passes, under whatever policies others have: named ports, blocks, both families, replicas', () => {
    fc.assert(
      fc.property(world.pods, world.policies, (of, policies) => {
        expect(pairsOf(found(policies, of))).toEqual(world.pairsByPacket(of, policies));
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    [{ port: 10, endPort: 20 }, { port: 20 }, true],
    [{ port: 10, endPort: 20 }, { port: 21, endPort: 30 }, false],
    [{ port: 15 }, { port: 10, endPort: 15 }, true],
    [{ port: 16 }, { port: 10, endPort: 15 }, false],
    [{ port: 10, endPort: 20 }, { port: 5, endPort: 11 }, true],
    [{ port: 10 }, {}, true],
    [{ port: 10 }, { protocol: 'UDP' }, false],
  ])('reach each other where one lets %j out and the other lets %j in: %j', (out, into, isOpen) => {
    const shut: NetworkPolicyShape = { name: 'shut', podSelector: {}, policyTypes: ['Ingress'], egress: [], ingress: [{ ports: [into] }] };
    const open = withForeign({ to: [{ ipBlock: { cidr: '10.244.1.2/32' } }], ports: [out] });
    expect(pairsOf(found(new Map([...open, ['b', [...shapes('b'), shut]]])))).toEqual(isOpen ? aToB : new Set());
  });

  it.each([
    ['ours', [], []],
    ['those of somebody who lets DNS go anywhere, and nobody but the ports that are served come in', [DNS_ANYWHERE], [SERVED]],
    ['those of somebody who lets all out, and in only who is of the same customer', [ALL_OUT], [OWN_IN]],
  ])('are not looked at two by two under %s, and each sender is a part of its own', (_, out, into) => {
    const many = Array.from({ length: 100 }, (__, at) => ({
      ...podOf(`n${at}`, at),
      labels: { app: 'shop', 'bifrost.dev/sidecar-id': `sidecar-n${at}` },
    }));
    const policies = new Map(
      many.map(({ namespace }) => [namespace, [...shapes(namespace), ...[...out, ...into].map((make) => make(namespace))]] as const),
    );
    const parts = [...proveNetworkPolicies(many, policies, 100)];
    expect(parts.filter((part) => part !== undefined)).toEqual([]);
    expect(parts).toHaveLength(many.length + 1);
  });

  it('are told up to a limit', () => {
    const many = Array.from({ length: 30 }, (_, at) => podOf(`n${at}`, at));
    expect(found(new Map(), many)).toHaveLength(100);
  });

  it('are a layer of the proof once pods and policies are read and the cluster enforces them; until then it is unproven', () => {
    const config = { allowedNetworks: [], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false } as const;
    const read = readBack([customerOf('a', config, 0), customerOf('b', config, 1)]);
    const layerOf = (given: Read) => judgeEvidence(inputsOf(given), digest).layers.find(({ layer }) => layer === 'network-policy');
    expect(layerOf(read)).toEqual({ layer: 'network-policy', assurance: 'unproven', judged: 0, findings: 0 });
    const { manager } = read.settings ?? {};
    if (manager === undefined) throw new BifrostError({ code: 'INTERNAL', message: 'no settings' });
    const enforced = {
      ...read,
      settings: { manager: { ...manager, networkPolicyEnforced: true, networkPoliciesKept: true } },
      pods: { 'with sidecars': pods },
    };
    expect(layerOf({ ...enforced, 'network-policies': Object.fromEntries(written) })).toEqual({
      ...{ layer: 'network-policy', assurance: 'enforced', judged: 4, findings: 0 },
    });
    expect(layerOf({ ...enforced, 'network-policies': { ...Object.fromEntries(written), a: [] } })?.findings).toBeGreaterThan(0);
  });
});
