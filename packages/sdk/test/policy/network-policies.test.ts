import { BifrostError, cidrContains, type IpAddress, parseAddress, parseCidr } from '@bifrost/types/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clearEgress } from '../../src/domain/clear-egress.ts';
import { TAILNET_NETWORKS } from '../../src/domain/guard.ts';
import {
  type JudgedPacket,
  type JudgedPod,
  type JudgedPolicy,
  judgeNetworkPolicy,
  type PolicyProtocol,
} from '../../src/domain/policy/judge-network-policy.ts';
import { CLUSTER_DNS, type NetworkPoliciesInput, networkPoliciesOf, RELAY_PORTS, shapeOf } from '../../src/domain/policy/network-policies.ts';
import { mutationsOf } from './mutations.ts';

const ranges = { pods: ['10.244.0.0/16', 'fd00:10::/48'], services: ['10.96.0.0/12'], nodes: ['192.0.2.1/32'] };
const input: NetworkPoliciesInput = {
  sidecarId: 'f00d',
  namespace: 'acme',
  ranges,
  dns: [CLUSTER_DNS],
  ingest: [
    {
      at: [{ kind: 'pods', namespaceLabels: { 'kubernetes.io/metadata.name': 'bifrost' }, podLabels: { app: 'bifrost' } }],
      ports: [{ protocol: 'tcp', port: 8443 }],
    },
  ],
  control: [{ at: [{ kind: 'networks', networks: ['198.51.100.1', '2001:db8::1'] }], ports: [{ protocol: 'tcp', port: 443 }] }],
  relays: [{ at: [{ kind: 'networks', networks: ['198.51.100.64/28'] }], ports: RELAY_PORTS }],
};
const inside = { ...input, relays: [{ at: [{ kind: 'networks' as const, networks: ['192.0.2.1'] }], ports: RELAY_PORTS }] };

const address = (text: string): IpAddress => parseAddress(text) as IpAddress;
const pod = (namespace: string, labels: Readonly<Record<string, string>>, ...addresses: string[]): JudgedPod => ({
  ...{ namespace, labels, namespaceLabels: { 'kubernetes.io/metadata.name': namespace }, addresses: addresses.map(address) },
});
const book = pod('acme', { app: 'book', 'bifrost.dev/sidecar-id': 'f00d' }, '10.244.1.1', 'fd00:10::1');
const dns = pod('kube-system', { 'k8s-app': 'kube-dns' }, '10.244.1.2', 'fd00:10::2');
const ingest = pod('bifrost', { app: 'bifrost' }, '10.244.1.3');
const neighbour = pod('acme', { app: 'neighbour' }, '10.244.1.4', 'fd00:10::4');
const foreign = pod('other', { app: 'book', 'bifrost.dev/sidecar-id': 'cafe' }, '10.244.1.5', 'fd00:10::5');
const PODS = [book, dns, ingest, neighbour, foreign];

const written = (given: NetworkPoliciesInput): readonly JudgedPolicy[] =>
  networkPoliciesOf(given).map((manifest) => ({ ...shapeOf(manifest), namespace: manifest.metadata.namespace }));
function packet(text: string, protocol: PolicyProtocol, port: number, from = book): JudgedPacket {
  const to = address(text);
  const toPod = PODS.find(({ addresses }) => addresses.some(({ bytes }) => bytes.join() === to.bytes.join()));
  return { from, to, protocol, port, ...(toPod && { toPod }) };
}
const judge = (given: NetworkPoliciesInput, ...asked: Parameters<typeof packet>): string =>
  judgeNetworkPolicy(written(given), packet(...asked)).verdict;

describe('networkPoliciesOf', () => {
  it('writes one policy that selects our own label, and touches nobody who sends to the book', () => {
    const [policy, ...others] = networkPoliciesOf(input);
    expect(others).toEqual([]);
    expect(policy).toMatchObject({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: {
        name: 'bifrost-f00d-egress',
        namespace: 'acme',
        labels: { 'bifrost.dev/sidecar-id': 'f00d', 'app.kubernetes.io/managed-by': 'bifrost' },
      },
      spec: { podSelector: { matchLabels: { 'bifrost.dev/sidecar-id': 'f00d' } }, policyTypes: ['Egress'] },
    });
    expect(policy?.spec).not.toHaveProperty('ingress');
  });

  it('writes them as in the golden file', async () => {
    const manifests = networkPoliciesOf({ ...input, ingress: { servedPorts: [{ protocol: 'tcp', port: 8080 }] } });
    await expect(`${JSON.stringify(manifests, undefined, 2)}\n`).toMatchFileSnapshot('../golden/network-policies.json');
  });

  it.each<[string, PolicyProtocol, number]>([
    ['10.244.1.2', 'UDP', 53],
    ['10.244.1.2', 'TCP', 53],
    ['fd00:10::2', 'UDP', 53],
    ['10.244.1.3', 'TCP', 8443],
    ['198.51.100.1', 'TCP', 443],
    ['2001:db8::1', 'TCP', 443],
    ['198.51.100.70', 'TCP', 443],
    ['198.51.100.70', 'UDP', 3478],
    ['203.0.113.9', 'UDP', 41641],
    ['203.0.113.9', 'UDP', 1],
    ['2001:db8:5::1', 'UDP', 61000],
  ])('lets the book’s pod send to %s %s %i', (...asked) => {
    expect(judge(input, ...asked)).toBe('allowed');
  });

  it.each<[string, PolicyProtocol, number]>([
    ['10.244.1.2', 'TCP', 8080],
    ['10.244.1.3', 'TCP', 443],
    ['10.244.1.3', 'UDP', 8443],
    ['10.244.1.4', 'TCP', 8080],
    ['10.244.1.4', 'UDP', 41641],
    ['10.244.1.5', 'TCP', 8080],
    ['fd00:10::5', 'UDP', 53],
    ['10.244.9.9', 'UDP', 41641],
    ['10.96.0.1', 'TCP', 443],
    ['10.96.0.10', 'UDP', 53],
    ['192.0.2.1', 'TCP', 10250],
    ['192.0.2.1', 'UDP', 3478],
    ['203.0.113.9', 'TCP', 443],
    ['2001:db8::2', 'TCP', 443],
    ['203.0.113.9', 'SCTP', 1],
  ])('lets it not send to %s %s %i', (...asked) => {
    expect(judge(input, ...asked)).toBe('denied');
  });

  it('names what lies in the cluster where a relay does, and no more of it', () => {
    expect(judge(inside, '192.0.2.1', 'UDP', 3478)).toBe('allowed');
    expect(judge(inside, '192.0.2.1', 'UDP', 41641)).toBe('denied');
  });

  it('opens a port to all that is outside where only a name is known', () => {
    const byName: NetworkPoliciesInput = { ...input, control: [{ at: [{ kind: 'outside' }], ports: [{ protocol: 'tcp', port: 443 }] }] };
    expect(judge(byName, '203.0.113.9', 'TCP', 443)).toBe('allowed');
    expect(judge(byName, '203.0.113.9', 'TCP', 80)).toBe('denied');
    expect(judge(byName, '10.96.0.1', 'TCP', 443)).toBe('denied');
  });

  it('leaves other pods as they were', () => {
    expect(judge(input, '10.244.1.5', 'TCP', 1, neighbour)).toBe('allowed');
    expect(judge(input, '10.244.1.1', 'TCP', 1, foreign)).toBe('allowed');
  });

  it('with ingress asked for, the book answers on its ports and ours, and to peers', () => {
    const both: NetworkPoliciesInput = { ...input, ingress: { servedPorts: [{ protocol: 'tcp', port: 8080 }] } };
    const answers = [8080, 9002, 9003, 22].map((port) => judge(both, '10.244.1.1', 'TCP', port, neighbour));
    expect(answers).toEqual(['allowed', 'allowed', 'allowed', 'denied']);
    expect(judge(both, '10.244.1.1', 'UDP', 41641, foreign)).toBe('denied');
    const peer = pod('elsewhere', {}, '203.0.113.9');
    expect(judge(both, '10.244.1.1', 'UDP', 41641, peer)).toBe('allowed');
  });

  it('an endpoint that is nowhere, or has no port, opens nothing: Kubernetes would read it as everything', () => {
    const nowhere = { at: [], ports: [{ protocol: 'tcp' as const, port: 7 }] };
    const empty: NetworkPoliciesInput = {
      ...input,
      ingest: [nowhere],
      control: [{ ...nowhere, at: [{ kind: 'networks', networks: [] }] }],
      relays: [],
    };
    expect(
      written(empty)
        .flatMap(({ egress }) => egress)
        .every(({ to = [], ports = [] }) => to.length > 0 && ports.length > 0),
    ).toBe(true);
    expect(judge(empty, '203.0.113.9', 'TCP', 7)).toBe('denied');
    expect(judge({ ...empty, relays: [{ at: [{ kind: 'outside' }], ports: [] }] }, '203.0.113.9', 'TCP', 7)).toBe('denied');
  });

  it('a family that is the cluster’s as a whole has no outside', () => {
    const whole: NetworkPoliciesInput = { ...input, ranges: { ...ranges, nodes: ['::/0'] } };
    expect(judge(whole, '2001:db8:5::1', 'UDP', 41641)).toBe('denied');
    expect(judge(whole, '203.0.113.9', 'UDP', 41641)).toBe('allowed');
    expect(JSON.stringify(written(whole))).not.toContain('"::/0"'); // the API server refuses an exception that is the whole
  });

  it('bug: of a family of which no range of pods is told every address was open, other customers’ pods among them; twin: told', () => {
    const name = { at: [{ kind: 'outside' as const }], ports: RELAY_PORTS };
    const far = { 4: ['203.0.113.9', '198.51.100.77'], 6: ['2001:db8:5::1', 'fd00:10::5'] } as const;
    const six = { services: ['10.96.0.0/12', 'fd00:96::/108'], nodes: ['192.0.2.1/32', '2001:db8::a/128'] };
    for (const [pods, open] of [
      [['10.244.0.0/16'], 4],
      [['fd00:11::/48'], 6],
    ] as const) {
      const given: NetworkPoliciesInput = {
        ...{ ...input, ranges: { ...six, pods }, control: [name], relays: [], ingress: { servedPorts: [] } },
      };
      const other = open === 4 ? 6 : 4;
      for (const text of far[open])
        expect([text, judge(given, text, 'UDP', 41641), judge(given, text, 'TCP', 443)]).toEqual([text, 'allowed', 'allowed']);
      for (const text of far[other])
        expect([text, judge(given, text, 'UDP', 41641), judge(given, text, 'TCP', 443)]).toEqual([text, 'denied', 'denied']);
      expect(JSON.stringify(written(given))).not.toContain(other === 6 ? '"::/0"' : '"0.0.0.0/0"');
      const told = { ...given, ranges: { ...six, pods: ['10.244.0.0/16', 'fd00:11::/48'] } };
      for (const text of far[other]) expect([text, judge(told, text, 'UDP', 41641)]).toEqual([text, 'allowed']);
    }
    // What is named by its address is open all the same: somebody knows what is there.
    expect(judge({ ...input, ranges: { ...six, pods: ['10.244.0.0/16'] } }, '2001:db8::1', 'TCP', 443)).toBe('allowed');
  });

  it('excepts each part of the cluster once, whatever lies in another, without host bits', () => {
    const nested: NetworkPoliciesInput = {
      ...input,
      ranges: { pods: ['10.1.2.3/8', '10.0.0.0/8'], services: ['10.96.0.0/12'], nodes: ['192.0.2.1/32'] },
    };
    const except = written(nested).flatMap(({ egress }) => egress.flatMap(({ to = [] }) => to.map(({ ipBlock }) => ipBlock?.except)));
    expect(except.filter((each) => each !== undefined)).toEqual([['10.0.0.0/8', '192.0.2.1/32']]);
  });

  it('withholds networks, as userspace mode needs it: only then nothing goes there in clear', () => {
    const networks = ['172.16.0.0/12', 'fd00:1::/32', ...TAILNET_NETWORKS];
    const clear = (given: NetworkPoliciesInput): string => clearEgress(written(given), { labels: book.labels, networks, clusterRanges: ranges });
    expect(clear(input)).toBe('possible');
    expect(clear({ ...input, withheld: networks })).toBe('denied');
    expect(judge({ ...input, withheld: networks }, '172.16.5.5', 'UDP', 41641)).toBe('denied');
    expect(judge({ ...input, withheld: networks }, '203.0.113.9', 'UDP', 41641)).toBe('allowed');
  });

  it.each(['10.0.0.0/33', 'name.example', '', '010.0.0.0/8', '::ffff:10.0.0.0/104'])('refuses the range %j, which would leave a hole', (bad) => {
    for (const given of [
      { ...input, ranges: { ...ranges, pods: [bad] } },
      { ...input, control: [{ at: [{ kind: 'networks' as const, networks: [bad] }], ports: [] }] },
    ]) {
      try {
        networkPoliciesOf(given);
        expect.unreachable();
      } catch (error) {
        expect(BifrostError.is(error) && error.code).toBe('INVALID_ARGUMENT');
        if (bad !== '') expect(String(error)).not.toContain(bad);
      }
    }
  });

  const range = fc
    .tuple(fc.constantFrom([10, 1], [172, 2], [198, 51]), fc.nat(255), fc.nat(255), fc.integer({ min: 8, max: 32 }))
    .map(([[a, b], c, d, bits]) => `${a}.${b}.${c}.${d}/${bits}`);

  it('the order of what it is given does not matter, nor that it is given twice', () => {
    fc.assert(
      fc.property(fc.array(range), fc.array(range), fc.infiniteStream(fc.nat()), (pods, networks, chance) => {
        const mixed = <T>(items: readonly T[]): readonly T[] =>
          [...items, ...items.slice(0, 1)]
            .map((item) => [chance.next().value, item] as const)
            .sort(([a], [b]) => a - b)
            .map(([, item]) => item);
        const control = networks.map((network) => ({ at: [{ kind: 'networks' as const, networks: [network] }], ports: RELAY_PORTS }));
        const once = networkPoliciesOf({ ...input, ranges: { ...ranges, pods }, control });
        expect(JSON.stringify(networkPoliciesOf({ ...input, ranges: { ...ranges, pods: mixed(pods) }, control: mixed(control) }))).toBe(
          JSON.stringify(once),
        );
      }),
    );
  });

  it('whatever the cluster’s ranges are: UDP goes to every address outside of them, and to none inside; to none at all where none is of pods', () => {
    const somewhere = fc
      .tuple(fc.constantFrom([10, 1], [172, 2], [198, 51]), fc.nat(255), fc.nat(255))
      .map(([[a, b], c, d]) => `${a}.${b}.${c}.${d}`);
    fc.assert(
      fc.property(fc.array(range, { maxLength: 5 }), fc.array(somewhere, { minLength: 10 }), (pods, texts) => {
        const given = { ...input, ranges: { pods, services: [], nodes: [] } };
        for (const text of texts) {
          const isCluster = pods.some((cidr) => cidrContains(parseCidr(cidr) as never, address(text)));
          expect(judge(given, text, 'UDP', 41641)).toBe(isCluster || pods.length === 0 ? 'denied' : 'allowed');
        }
      }),
    );
  });

  describe('whatever somebody changes in it, some packet’s verdict changes', () => {
    const full: NetworkPoliciesInput = { ...inside, ingress: { servedPorts: [{ protocol: 'tcp', port: 8080 }] } };
    const outer = pod('elsewhere', {}, '203.0.113.9', '2001:db8:5::1');
    // Beside what is named, an address just before and after each range, and one in each half of everything.
    const far = [
      '203.0.113.9',
      '3.0.0.1',
      '2001:db8:5::1',
      'c001::1',
      '198.51.100.0',
      '198.51.100.1',
      '2001:db8::',
      '2001:db8::1',
      '192.0.2.0',
      '192.0.2.1',
      '10.244.9.9',
      '10.96.0.1',
      'fd00:10::9',
    ];
    const far4and6 = [
      ...far,
      ...PODS.flatMap(({ addresses }) => addresses).map(({ family, bytes }) => (family === 4 ? bytes.join('.') : `fd00:10::${bytes.at(-1)}`)),
    ];
    const wide = [pod('a', {}, '3.0.0.1', 'c001::1'), pod('a', {}, '10.96.0.1', 'fd00:10::9'), pod('a', {}, '192.0.2.1'), outer];
    const ports = [53, 54, 443, 444, 3478, 3479, 8080, 8081, 8443, 8444, 9002, 9003, 9004, 41641];
    const packets = [...PODS, ...wide].flatMap((from) =>
      (from === book ? far4and6 : ['10.244.1.1', 'fd00:10::1', '10.244.1.4']).flatMap((text) =>
        ports.flatMap((port) => (['TCP', 'UDP'] as const).map((protocol) => packet(text, protocol, port, from))),
      ),
    );
    const verdicts = (policies: readonly JudgedPolicy[]): string => packets.map((asked) => judgeNetworkPolicy(policies, asked).verdict[0]).join('');
    const original = written(full);
    const before = verdicts(original);
    const mutations = mutationsOf(original);

    it('there are many', () => expect(mutations.length).toBeGreaterThan(50));
    it.each(mutations)('$what', ({ mutated }) => {
      expect(verdicts(mutated) === before).toBe(false);
    });
  });
});
