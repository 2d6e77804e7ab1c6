import { type IpAddress, parseAddress } from '@bifrost/types/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LabelSelectorShape, PolicyPeerShape, PolicyPortShape } from '../../src/domain/network-policy-shape.ts';
import {
  type JudgedPacket,
  type JudgedPod,
  type JudgedPolicy,
  judgeNetworkPolicy,
  type PolicyProtocol,
} from '../../src/domain/policy/judge-network-policy.ts';
import { mutationsOf } from './mutations.ts';

const address = (text: string): IpAddress => {
  const parsed = parseAddress(text);
  if (!parsed) throw new Error(text);
  return parsed;
};
const pod = (namespace: string, labels: Readonly<Record<string, string>>, ...addresses: string[]): JudgedPod => ({
  namespace,
  namespaceLabels: { team: namespace },
  labels,
  addresses: addresses.map(address),
  namedPorts: [{ name: 'web', protocol: 'TCP', port: 2 }],
});
const policy = (parts: Partial<JudgedPolicy> = {}): JudgedPolicy => ({
  ...{ namespace: 'x', name: 'p', podSelector: {}, policyTypes: ['Egress'], ingress: [], egress: [] },
  ...parts,
});
const book = pod('x', { app: 'book' }, '10.0.0.1', 'fd00::1');
const other = pod('x', { app: 'other' }, '10.0.0.2');
const foreign = pod('y', { app: 'book' }, '10.0.0.3');
const packet = (parts: Partial<JudgedPacket> = {}): JudgedPacket => ({ from: book, to: address('10.0.0.9'), protocol: 'TCP', port: 1, ...parts });
const to = (toPod: JudgedPod, parts: Partial<JudgedPacket> = {}): JudgedPacket => packet({ to: toPod.addresses[0] as IpAddress, toPod, ...parts });
const block = (cidr: string, ...except: string[]) => ({ ipBlock: { cidr, ...(except.length > 0 ? { except } : {}) } });

describe('judgeNetworkPolicy', () => {
  const allowed: readonly [string, readonly JudgedPolicy[], JudgedPacket, string | undefined][] = [
    ['no policy', [], packet(), undefined],
    ['a policy for ingress only', [policy({ policyTypes: ['Ingress'] })], packet(), undefined],
    ['a policy that selects another pod', [policy({ podSelector: { matchLabels: { app: 'other' } } })], packet(), undefined],
    ['a policy of another namespace', [policy({ namespace: 'y' })], packet(), undefined],
    ['a rule for everything', [policy({ egress: [{}] })], packet(), 'x/p'],
    ['empty lists, which mean everything', [policy({ egress: [{ to: [], ports: [] }] })], packet({ protocol: 'SCTP' }), 'x/p'],
    ['its address in a block', [policy({ egress: [{ to: [block('10.0.0.8/30', '10.0.0.10/31')] }] })], packet(), 'x/p'],
    ['another policy that lets it: they add up', [policy(), policy({ name: 'q', egress: [{}] })], packet(), 'x/q'],
    ['a pod of the policy’s namespace', [policy({ egress: [{ to: [{ podSelector: { matchLabels: { app: 'other' } } }] }] })], to(other), 'x/p'],
    ['all pods of a namespace', [policy({ egress: [{ to: [{ namespaceSelector: { matchLabels: { team: 'y' } } }] }] })], to(foreign), 'x/p'],
    ['a port of a range', [policy({ egress: [{ ports: [{ port: 1, endPort: 3 }] }] })], packet({ port: 3 }), 'x/p'],
    ['a port by name', [policy({ egress: [{ ports: [{ port: 'web' }] }] })], to(other, { port: 2 }), 'x/p'],
    ['every port of a protocol', [policy({ egress: [{ ports: [{ protocol: 'UDP' }] }] })], packet({ protocol: 'UDP', port: 9 }), 'x/p'],
    ['the pod itself', [policy()], to(book), undefined],
    ['its own node', [policy()], packet({ fromNode: [address('10.0.0.9')] }), undefined],
    [
      'ingress that names the sender, across namespaces',
      [policy({ namespace: 'y', policyTypes: ['Ingress'], ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: 'x' } } }] }] })],
      to(foreign),
      'y/p',
    ],
    [
      'ingress by the sender’s address of the same family',
      [policy({ namespace: 'y', policyTypes: ['Ingress'], ingress: [{ from: [block('10.0.0.1/32')] }] })],
      to(foreign),
      'y/p',
    ],
    ['a block that nobody can read: it may hold it', [policy({ egress: [{ to: [block('010.0.0.0/8')] }] })], packet(), 'x/p'],
    ['an exception that nobody can read', [policy({ egress: [{ to: [block('10.0.0.0/8', '010.0.0.0/8')] }] })], packet(), 'x/p'],
  ];
  it.each(allowed)('lets: %s', (_, policies, given, by) => {
    expect(judgeNetworkPolicy(policies, given)).toEqual({ verdict: 'allowed', by });
  });

  const denied: readonly [string, readonly JudgedPolicy[], JudgedPacket, string][] = [
    ['a policy without rules', [policy()], packet(), 'x/p'],
    ['the first by name of those that shut it off', [policy({ name: 'q' }), policy()], packet(), 'x/p'],
    ['an address that is excepted', [policy({ egress: [{ to: [block('10.0.0.8/30', '10.0.0.8/31')] }] })], packet(), 'x/p'],
    ['the other family', [policy({ egress: [{ to: [block('::/0')] }] })], packet(), 'x/p'],
    ['pods where an address outside is sent to', [policy({ egress: [{ to: [{ podSelector: {} }] }] })], packet(), 'x/p'],
    ['its labels in another namespace', [policy({ egress: [{ to: [{ podSelector: { matchLabels: { app: 'book' } } }] }] })], to(foreign), 'x/p'],
    [
      'namespace and labels, of which one does not fit',
      [policy({ egress: [{ to: [{ namespaceSelector: {}, podSelector: { matchLabels: { app: 'other' } } }] }] })],
      to(foreign),
      'x/p',
    ],
    ['a port without protocol, which is TCP', [policy({ egress: [{ ports: [{ port: 1 }] }] })], packet({ protocol: 'UDP' }), 'x/p'],
    ['a named port of an address outside', [policy({ egress: [{ ports: [{ port: 'web' }] }] })], packet({ port: 2 }), 'x/p'],
    [
      'a name that another protocol has',
      [policy({ egress: [{ ports: [{ port: 'web', protocol: 'UDP' }] }] })],
      to(other, { port: 2, protocol: 'UDP' }),
      'x/p',
    ],
    ['egress rules without types', [policy({ policyTypes: [], egress: [{ to: [block('10.0.0.0/31')] }] })], packet(), 'x/p'],
    ['no types at all: ingress', [policy({ policyTypes: [] })], to(other), 'x/p'],
    [
      'egress that lets and ingress that does not',
      [policy({ egress: [{}] }), policy({ namespace: 'y', policyTypes: ['Ingress'] })],
      to(foreign),
      'y/p',
    ],
    [
      'a label that every object has',
      [policy({ egress: [{ to: [{ podSelector: { matchExpressions: [{ key: 'constructor', operator: 'Exists' }] } }] }] })],
      to(other),
      'x/p',
    ],
  ];
  it.each(denied)('stops: %s', (_, policies, given, by) => {
    expect(judgeNetworkPolicy(policies, given)).toEqual({ verdict: 'denied', by });
  });

  it('the order of policies does not matter', () => {
    fc.assert(
      fc.property(policies, fc.constantFrom(...PACKETS), (given, asked) => {
        expect(judgeNetworkPolicy([...given].reverse(), asked)).toEqual(judgeNetworkPolicy(given, asked));
      }),
    );
  });

  it('agrees, packet by packet, with a list of all that each policy lets', () => {
    fc.assert(
      fc.property(policies, (given) => {
        const world = listed(given);
        const names = new Set(given.map(({ namespace, name }) => `${namespace}/${name}`));
        const verdicts = PACKETS.map((asked) => judgeNetworkPolicy(given, asked));
        expect(verdicts.map(({ verdict }) => verdict)).toEqual(PACKETS.map((asked) => (world(asked) ? 'allowed' : 'denied')));
        expect(verdicts.every(({ verdict, by }) => (by === undefined ? verdict === 'allowed' : names.has(by)))).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  describe('whatever is changed in policies that matter changes the verdict of some packet', () => {
    const podSelector = { matchLabels: { a: '1' } };
    const policies: readonly JudgedPolicy[] = [
      policy({
        podSelector,
        egress: [
          { to: [block('10.0.0.8/30', '10.0.0.8/31'), block('fd00::8/126', 'fd00::9/128')], ports: [{ port: 1, endPort: 2 }] },
          {
            to: [
              { namespaceSelector: { matchLabels: { team: 'y' } }, podSelector: { matchExpressions: [{ key: 'b', operator: 'In', values: ['2'] }] } },
            ],
          },
          { to: [{ podSelector: { matchLabels: { a: '2' } } }], ports: [{ protocol: 'UDP', port: 3 }] },
        ],
      }),
      policy({
        namespace: 'y',
        podSelector,
        policyTypes: ['Ingress'],
        ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: 'x' } } }], ports: [{ port: 'web' }] }],
      }),
    ];
    const verdicts = (given: readonly JudgedPolicy[]): readonly string[] => PACKETS.map((asked) => judgeNetworkPolicy(given, asked).verdict);
    const mutations = mutationsOf(policies);

    it('there are many', () => expect(mutations.length).toBeGreaterThan(20));
    it.each(mutations)('$what', ({ mutated }) => {
      expect(verdicts(mutated)).not.toEqual(verdicts(policies));
    });
  });
});

// A small world: all of it can be asked. Pods have the lowest addresses of 10.0.0.0/28 and fd00::/124; the rest is outside of the cluster.
const WORLD = {
  x: [pod('x', { a: '1' }, '10.0.0.0', 'fd00::0'), pod('x', { a: '2', b: '1' }, '10.0.0.1', 'fd00::1'), pod('x', {}, '10.0.0.2', 'fd00::2')],
  y: [
    pod('y', { a: '1', b: '2' }, '10.0.0.3', 'fd00::3'),
    pod('y', { a: '2', b: '2' }, '10.0.0.4', 'fd00::4'),
    pod('y', { b: '1' }, '10.0.0.5', 'fd00::5'),
  ],
};
const PODS = [...WORLD.x, ...WORLD.y];
const PORTS = [1, 2, 3];
const PROTOCOLS: readonly PolicyProtocol[] = ['TCP', 'UDP'];
const lastOf = ({ bytes }: IpAddress): number => bytes.at(-1) ?? 0;
const DESTINATIONS = Array.from({ length: 16 }, (_, last) => [address(`10.0.0.${last}`), address(`fd00::${last.toString(16)}`)]).flat();
const PACKETS: readonly JudgedPacket[] = PODS.flatMap((from) =>
  DESTINATIONS.flatMap((destination) => {
    const toPod = PODS[lastOf(destination)];
    return PORTS.flatMap((port) => PROTOCOLS.map((protocol) => ({ from, to: destination, protocol, port, ...(toPod && { toPod }) })));
  }),
);

const range = fc
  .tuple(fc.constantFrom(4, 6), fc.integer({ min: 0, max: 15 }), fc.integer({ min: 0, max: 4 }))
  .map(([family, last, free]) =>
    family === 4 ? `10.0.0.${last & ~(2 ** free - 1)}/${32 - free}` : `fd00::${(last & ~(2 ** free - 1)).toString(16)}/${128 - free}`,
  );
const values = fc.subarray(['1', '2'], { minLength: 1 });
const expression = fc.record({ key: fc.constantFrom('a', 'b'), operator: fc.constantFrom('In', 'NotIn', 'Exists', 'DoesNotExist'), values });
const selector = fc.record({
  matchLabels: fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom('1', '2'), { maxKeys: 1 }),
  matchExpressions: fc.array(expression, { maxLength: 1 }),
});
const namespaceSelector = fc.constantFrom<LabelSelectorShape>({}, { matchLabels: { team: 'x' } }, { matchLabels: { team: 'y' } });
const peer: fc.Arbitrary<PolicyPeerShape> = fc.oneof(
  fc.record({ ipBlock: fc.record({ cidr: range, except: fc.array(range, { maxLength: 2 }) }) }),
  fc.record({ podSelector: selector }),
  fc.record({ namespaceSelector, podSelector: selector }),
  fc.record({ namespaceSelector }),
);
const port: fc.Arbitrary<PolicyPortShape> = fc.oneof(
  fc.record({ protocol: fc.constantFrom('TCP', 'UDP'), port: fc.integer({ min: 1, max: 3 }) }),
  fc.constantFrom<PolicyPortShape>({ port: 1, endPort: 2 }, { protocol: 'UDP' }, { port: 'web' }, {}),
);
const few = { maxLength: 2 };
const policies: fc.Arbitrary<readonly JudgedPolicy[]> = fc
  .array(
    fc.record({
      namespace: fc.constantFrom('x', 'y'),
      podSelector: selector,
      policyTypes: fc.subarray(['Ingress', 'Egress']),
      ingress: fc.array(fc.record({ from: fc.array(peer, few), ports: fc.array(port, few) }), few),
      egress: fc.array(fc.record({ to: fc.array(peer, few), ports: fc.array(port, few) }), few),
    }),
    { maxLength: 4 },
  )
  .map((given) => given.map((parts, index) => ({ ...parts, name: `p${index}` })));

/** Kubernetes' own words, written down packet by packet: for every pod, which directions are shut, and every single packet that some rule opens. */
function listed(given: readonly JudgedPolicy[]): (asked: JudgedPacket) => boolean {
  const keyOf = ({ from, to: destination, protocol, port: at }: JudgedPacket): string =>
    `${PODS.indexOf(from)} ${destination.family}/${lastOf(destination)} ${protocol}${at}`;
  const shut = { Egress: new Set<JudgedPod>(), Ingress: new Set<JudgedPod>() };
  const open = { Egress: new Set<string>(), Ingress: new Set<string>() };
  const has = (own: Readonly<Record<string, string>>, { matchLabels = {}, matchExpressions = [] }: LabelSelectorShape): boolean => {
    for (const key in matchLabels) if (own[key] !== matchLabels[key]) return false;
    for (const { key, operator, values: wanted = [] } of matchExpressions) {
      const among = own[key] !== undefined && wanted.includes(own[key]);
      if (operator === 'In' && !among) return false;
      if (operator === 'NotIn' && among) return false;
      if (operator === 'Exists' && own[key] === undefined) return false;
      if (operator === 'DoesNotExist' && own[key] !== undefined) return false;
    }
    return true;
  };
  const within = (cidr: string, { family, bytes }: IpAddress): boolean => {
    const [network = '', bits = ''] = cidr.split('/');
    const [of, last] = network.includes('.') ? [4, Number(network.split('.')[3])] : [6, Number.parseInt(network.slice('fd00::'.length), 16)];
    const free = (of === 4 ? 32 : 128) - Number(bits);
    return family === of && last >> free === (bytes.at(-1) ?? 0) >> free;
  };
  for (const { namespace, podSelector, policyTypes, ingress, egress } of given) {
    const types = policyTypes.length > 0 ? policyTypes : ['Ingress', ...(egress.length > 0 ? ['Egress'] : [])];
    for (const selected of PODS.filter((candidate) => candidate.namespace === namespace && has(candidate.labels, podSelector))) {
      for (const type of ['Egress', 'Ingress'] as const) {
        if (!types.includes(type)) continue;
        shut[type].add(selected);
        for (const asked of PACKETS) {
          if ((type === 'Egress' ? asked.from : asked.toPod) !== selected) continue;
          const far = type === 'Egress' ? asked.toPod : asked.from;
          const farAddress = type === 'Egress' ? asked.to : (asked.from.addresses.find(({ family }) => family === asked.to.family) as IpAddress);
          const rules =
            type === 'Egress'
              ? egress.map((rule) => ({ peers: rule.to, ports: rule.ports }))
              : ingress.map((rule) => ({ peers: rule.from, ports: rule.ports }));
          for (const { peers = [], ports = [] } of rules) {
            const peerFits =
              peers.length === 0 ||
              peers.some((one) => {
                if (one.ipBlock) return within(one.ipBlock.cidr, farAddress) && !one.ipBlock.except?.some((hole) => within(hole, farAddress));
                if (!far) return false;
                if (one.namespaceSelector) return has(far.namespaceLabels, one.namespaceSelector) && has(far.labels, one.podSelector ?? {});
                return far.namespace === namespace && has(far.labels, one.podSelector ?? {});
              });
            const portFits =
              ports.length === 0 ||
              ports.some(({ protocol = 'TCP', port: first, endPort }) => {
                if (protocol !== asked.protocol) return false;
                if (first === 'web') return asked.toPod !== undefined && asked.port === 2 && asked.protocol === 'TCP';
                return (
                  first === undefined ||
                  Array.from({ length: (endPort ?? Number(first)) - Number(first) + 1 }, (_, more) => Number(first) + more).includes(asked.port)
                );
              });
            if (peerFits && portFits) open[type].add(keyOf(asked));
          }
        }
      }
    }
  }
  return (asked) => {
    if (asked.from === asked.toPod) return true;
    const out = !shut.Egress.has(asked.from) || open.Egress.has(keyOf(asked));
    return out && (asked.toPod === undefined || !shut.Ingress.has(asked.toPod) || open.Ingress.has(keyOf(asked)));
  };
}
