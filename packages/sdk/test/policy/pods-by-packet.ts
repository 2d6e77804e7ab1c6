// Pods and foreign NetworkPolicies, and which packets pass: each packet by itself, with nothing of what judges them.
import fc from 'fast-check';
import type { NetworkPolicyShape } from '../../src/domain/network-policy-shape.ts';
import type { PodEvidence } from '../../src/domain/policy/proof-evidence.ts';
import { isIn } from './worlds.ts';

type Peer = NonNullable<NetworkPolicyShape['egress'][number]['to']>[number];
type Port = NonNullable<NetworkPolicyShape['egress'][number]['ports']>[number];
type Selector = NetworkPolicyShape['podSelector'];
export type PoliciesOf = ReadonlyMap<string, readonly NetworkPolicyShape[]>;

/** Two of one customer. */
const NAMESPACES = { a: 'acme', 'a-two': 'acme', b: 'globex', c: 'initech' } as const;
const [NAME, CUSTOMER] = ['kubernetes.io/metadata.name', 'bifrost.dev/customer-id'];
const PORTS = [1, 2, 3, 4, 5, 6, 7, 8, 65_535] as const;

const podOf = (
  at: number,
  namespace: keyof typeof NAMESPACES,
  { app, families }: { readonly app: string; readonly families: string },
): PodEvidence => ({
  ...{ namespace, name: `${app}-${at}`, customerId: NAMESPACES[namespace], labels: { app } },
  addresses: [...(families.includes('4') ? [`10.0.0.${at}`] : []), ...(families.includes('6') ? [`fd00::${at.toString(16)}`] : [])],
});
const namespace = fc.constantFrom(...(Object.keys(NAMESPACES) as (keyof typeof NAMESPACES)[]));

/** Few labels, so that there are replicas; the last eight of sixteen addresses, so that small blocks meet some of them. */
export const pods: fc.Arbitrary<readonly PodEvidence[]> = fc
  .array(fc.tuple(namespace, fc.record({ app: fc.constantFrom('shop', 'db'), families: fc.constantFrom('4', '46', '46', '6') })), {
    minLength: 2,
    maxLength: 7,
  })
  .map((all) => all.map(([of, rest], index) => podOf(index + 1, of, rest)));

const cidr = fc.oneof(
  fc.constantFrom('0.0.0.0/0', '::/0', '10.0.0.0/28', 'fd00::/124'),
  fc.tuple(fc.nat(8), fc.integer({ min: 29, max: 32 })).map(([at, bits]) => `10.0.0.${at - (at % 2 ** (32 - bits))}/${bits}`),
  fc.tuple(fc.nat(8), fc.integer({ min: 125, max: 128 })).map(([at, bits]) => `fd00::${at - (at % 2 ** (128 - bits))}/${bits}`),
);
const expression = (key: string, values: readonly string[]) =>
  fc.record({ key: fc.constant(key), operator: fc.constantFrom('In', 'NotIn', 'Exists', 'DoesNotExist'), values: fc.subarray([...values]) });
const selector = (key: string, values: readonly string[]): fc.Arbitrary<Selector> =>
  fc.oneof(
    fc.constant({}),
    fc.constantFrom(...values).map((value) => ({ matchLabels: { [key]: value } })),
    expression(key, values).map((each) => ({ matchExpressions: [each] })),
  );
const ofPods = selector('app', ['shop', 'db', 'none']);
const ofNamespaces = fc.oneof(selector(NAME, Object.keys(NAMESPACES)), selector(CUSTOMER, ['acme', 'globex', 'initech']), selector('team', ['x']));
const peer: fc.Arbitrary<Peer> = fc.oneof(
  fc.record({ cidr, except: fc.array(cidr, { maxLength: 2 }) }).map((ipBlock) => ({ ipBlock })),
  fc.record({ podSelector: ofPods, namespaceSelector: ofNamespaces }),
  ofNamespaces.map((namespaceSelector) => ({ namespaceSelector })),
  ofPods.map((podSelector) => ({ podSelector })),
);
const port: fc.Arbitrary<Port> = fc.oneof(
  fc.record({ protocol: fc.constantFrom('TCP', 'UDP', 'SCTP') }),
  fc.record({ protocol: fc.constantFrom('TCP', 'UDP'), port: fc.constantFrom('http', 'dns') }),
  fc.record({ port: fc.integer({ min: 1, max: 5 }) }),
  fc
    .integer({ min: 1, max: 5 })
    .chain((from) => fc.record({ protocol: fc.constantFrom('TCP', 'UDP'), port: fc.constant(from), endPort: fc.integer({ min: from, max: 7 }) })),
);
const peers = fc.array(peer, { maxLength: 2 });
const ports = fc.array(port, { maxLength: 2 });
const policy: fc.Arbitrary<NetworkPolicyShape> = fc.record({
  name: fc.constantFrom('one', 'two'),
  podSelector: ofPods,
  policyTypes: fc.constantFrom([], ['Egress'], ['Ingress'], ['Ingress', 'Egress']),
  egress: fc.array(fc.record({ to: peers, ports }), { maxLength: 2 }),
  ingress: fc.array(fc.record({ from: peers, ports }), { maxLength: 2 }),
});
export const policies: fc.Arbitrary<PoliciesOf> = fc
  .record({
    a: fc.array(policy, { maxLength: 3 }),
    'a-two': fc.array(policy, { maxLength: 1 }),
    b: fc.array(policy, { maxLength: 2 }),
    c: fc.array(policy, { maxLength: 1 }),
  })
  .map((byNamespace) => new Map(Object.entries(byNamespace)));

/** `maybe`: of what nobody has read, what a selector asks may be so. */
function isSelected(asked: Selector, labels: Readonly<Record<string, string>>, maybe: (key: string) => boolean = () => false): boolean {
  const carried = new Map(Object.entries(labels));
  for (const [key, value] of Object.entries(asked.matchLabels ?? {})) if (!maybe(key) && carried.get(key) !== value) return false;
  for (const { key, operator, values = [] } of asked.matchExpressions ?? []) {
    const isOne = values.some((value) => value === carried.get(key));
    const is = { In: isOne, NotIn: !isOne, Exists: carried.has(key), DoesNotExist: !carried.has(key) }[operator];
    if (!maybe(key) && is !== true) return false;
  }
  return true;
}

interface End {
  readonly pod: PodEvidence;
  readonly address: string;
}

function isMeant(asked: Peer, of: string, { pod, address }: End): boolean {
  if (asked.ipBlock !== undefined) return isIn(address, asked.ipBlock.cidr) && !(asked.ipBlock.except ?? []).some((hole) => isIn(address, hole));
  if (asked.podSelector !== undefined && !isSelected(asked.podSelector, pod.labels)) return false;
  if (asked.namespaceSelector === undefined) return pod.namespace === of;
  const labels = { [NAME]: pod.namespace, [CUSTOMER]: pod.customerId ?? '' };
  return isSelected(asked.namespaceSelector, labels, (key) => key !== NAME && key !== CUSTOMER);
}

interface Packet {
  readonly protocol: string;
  readonly port: number;
}

/** A name may be that of any port: some container's that nobody has read. */
const isPort = (asked: Port, { protocol, port: number }: Packet): boolean => {
  if ((asked.protocol ?? 'TCP') !== protocol) return false;
  if (typeof asked.port !== 'number') return true;
  return number >= asked.port && number <= (asked.endPort ?? asked.port);
};

/** Whether a pod's own namespace lets it in one direction. */
function isLet(
  direction: 'Egress' | 'Ingress',
  { pod }: End,
  { other, packet, all }: { readonly other: End; readonly packet: Packet; readonly all: PoliciesOf },
): boolean {
  let isShut = false;
  for (const each of all.get(pod.namespace) ?? []) {
    const types = each.policyTypes.length > 0 ? each.policyTypes : each.egress.length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
    if (!types.includes(direction) || !isSelected(each.podSelector, pod.labels)) continue;
    isShut = true;
    const rules =
      direction === 'Egress'
        ? each.egress.map(({ to = [], ports: of = [] }) => ({ ends: to, of }))
        : each.ingress.map(({ from = [], ports: of = [] }) => ({ ends: from, of }));
    for (const { ends, of } of rules) {
      const isThere = ends.length === 0 || ends.some((asked) => isMeant(asked, pod.namespace, other));
      if (isThere && (of.length === 0 || of.some((asked) => isPort(asked, packet)))) return true;
    }
  }
  return !isShut;
}

/** `acme>globex`: some packet of a pod of the one gets into a pod of the other. */
export function pairsByPacket(every: readonly PodEvidence[], all: PoliciesOf): ReadonlySet<string> {
  const open = new Set<string>();
  for (const from of every) {
    for (const to of every.filter(({ customerId }) => customerId !== from.customerId)) {
      for (const address of to.addresses) {
        const source = from.addresses.find((own) => own.includes(':') === address.includes(':'));
        if (source === undefined) continue;
        const [sender, receiver] = [
          { pod: from, address: source },
          { pod: to, address },
        ];
        const passes = (packet: Packet): boolean =>
          isLet('Egress', sender, { other: receiver, packet, all }) && isLet('Ingress', receiver, { other: sender, packet, all });
        if (['TCP', 'UDP', 'SCTP'].some((protocol) => PORTS.some((number) => passes({ protocol, port: number }))))
          open.add(`${from.customerId}>${to.customerId}`);
      }
    }
  }
  return open;
}
