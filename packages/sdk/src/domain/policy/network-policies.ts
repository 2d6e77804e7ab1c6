import { BifrostError, type Cidr, cidrContains, formatCidr, hostCidr, isIpv4Mapped, networkOf, parseAddress, parseCidr } from '@bifrost/types/core';
import type { ServedPort } from '../guard.ts';
import type { ClusterRanges } from '../model.ts';
import { LABELS, MANAGED_BY, PORTS } from '../names.ts';
import type {
  EgressRuleShape,
  IngressRuleShape,
  LabelSelectorShape,
  NetworkPolicyShape,
  PolicyPeerShape,
  PolicyPortShape,
} from '../network-policy-shape.ts';

/** A NetworkPolicy as it is written. */
export interface NetworkPolicyManifest {
  readonly apiVersion: 'networking.k8s.io/v1';
  readonly kind: 'NetworkPolicy';
  readonly metadata: { readonly name: string; readonly namespace: string; readonly labels: Readonly<Record<string, string>> };
  readonly spec: {
    readonly podSelector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly policyTypes: readonly ('Egress' | 'Ingress')[];
    readonly egress?: readonly EgressRuleShape[];
    readonly ingress?: readonly IngressRuleShape[];
  };
}

/**
 * Where something answers. `networks`: by addresses or ranges. `pods`: by the labels of pods and of their namespace; what stands behind a Service is told so,
 * since most network plugins judge a packet after its Service's address was replaced by a pod's. `outside`: only a name is known, so any address that is
 * not the cluster's.
 */
export type NetworkPolicyDestination =
  | { readonly kind: 'networks'; readonly networks: readonly string[] }
  | {
      readonly kind: 'pods';
      readonly namespaceLabels: Readonly<Record<string, string>>;
      readonly podLabels: Readonly<Record<string, string>>;
    }
  | { readonly kind: 'outside' };

/** Of whom is sent to. A text is the name that a pod gives its port. */
export interface NetworkPolicyPort {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number | string;
}

/** Something that the book or its sidecar must reach. The ports are those of the pods, where it is pods that answer. */
export interface NetworkPolicyEndpoint {
  readonly at: readonly NetworkPolicyDestination[];
  readonly ports: readonly NetworkPolicyPort[];
}

/** All that the NetworkPolicies of a book with a sidecar are made from. */
export interface NetworkPoliciesInput {
  /** Of the attachment: each pod of the book carries it as a label. */
  readonly sidecarId: string;
  /** The book's. */
  readonly namespace: string;
  /** Of a family of which no range of pods is among them nothing is outside: what is open there might be another's pod. */
  readonly ranges: ClusterRanges;
  /** {@link CLUSTER_DNS} where nothing else is known. */
  readonly dns: readonly NetworkPolicyEndpoint[];
  readonly ingest: readonly NetworkPolicyEndpoint[];
  readonly control: readonly NetworkPolicyEndpoint[];
  /** DERP and STUN, see {@link RELAY_PORTS}. */
  readonly relays: readonly NetworkPolicyEndpoint[];
  /** Present: who may send to the book is told too, and all that is not named here is cut. Absent: that stays as it is. */
  readonly ingress?: { readonly servedPorts: readonly ServedPort[] };
  /**
   * Networks outside of the cluster to which nothing may go in clear either. In userspace mode these are allowed and blocked networks and the tailnets'
   * own: without them the UDP rule is a way past the proxy, and `clearEgress` says so. Default: none, since a guard keeps them. A peer's private address
   * inside of them is then no direct path.
   */
  readonly withheld?: readonly string[];
}

/** Where kubeadm, kind and most clouds have it. */
export const CLUSTER_DNS: NetworkPolicyEndpoint = {
  at: [{ kind: 'pods', namespaceLabels: { 'kubernetes.io/metadata.name': 'kube-system' }, podLabels: { 'k8s-app': 'kube-dns' } }],
  ports: [
    { protocol: 'udp', port: 53 },
    { protocol: 'tcp', port: 53 },
  ],
};

/** DERP over HTTPS, and STUN, where a relay does not name others. */
export const RELAY_PORTS: readonly NetworkPolicyPort[] = [
  { protocol: 'tcp', port: 443 },
  { protocol: 'udp', port: 3478 },
];

/**
 * What Kubernetes is told of a book with a sidecar: where its pods may send, and, only when asked, who may send to them. The same input gives the same
 * manifests. Egress and ingress are two objects, so that one can come and go without the other.
 *
 * They select our own label. The specification selects `app: book-deployment` and lets `app: tailscale-sidecar` in, as if these were two pods: book and
 * sidecar share one network namespace, no policy can tell them apart, and of that sample only the book's half would ever select anything.
 *
 * @throws {BifrostError} `INVALID_ARGUMENT` — a range or address that cannot be read, or that is IPv4 in an IPv6 address
 */
export function networkPoliciesOf(input: NetworkPoliciesInput): readonly NetworkPolicyManifest[] {
  const egress = manifest(input, { policyTypes: ['Egress'], egress: egressRules(input) });
  return input.ingress === undefined
    ? [egress]
    : [egress, manifest(input, { policyTypes: ['Ingress'], ingress: ingressRules(input, input.ingress) })];
}

/** Of a manifest of ours what {@link NetworkPolicyShape} has. */
export const shapeOf = ({ metadata, spec }: NetworkPolicyManifest): NetworkPolicyShape => ({
  name: metadata.name,
  podSelector: spec.podSelector,
  policyTypes: spec.policyTypes,
  ingress: spec.ingress ?? [],
  egress: spec.egress ?? [],
});

function manifest({ sidecarId, namespace }: NetworkPoliciesInput, spec: Omit<NetworkPolicyManifest['spec'], 'podSelector'>): NetworkPolicyManifest {
  const name = `bifrost-${sidecarId}-${spec.policyTypes.join('-').toLowerCase()}`;
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name, namespace, labels: { [LABELS.managedBy]: MANAGED_BY, [LABELS.sidecarId]: sidecarId } },
    spec: { podSelector: { matchLabels: { [LABELS.sidecarId]: sidecarId } }, ...spec },
  };
}

/** Sent from whatever port the peer's router made of it, so no port is named: 41641 alone would leave peers behind NAT to the relays. */
const ANY_UDP: PolicyPortShape = { protocol: 'UDP' };

function egressRules(input: NetworkPoliciesInput): readonly EgressRuleShape[] {
  const named = [...input.dns, ...input.ingest, ...input.control, ...input.relays];
  return rules([
    ...named.map(({ at, ports }) => ({ peers: at.flatMap((destination) => peersOf(destination, input)), ports: ports.map(portOf) })),
    { peers: outside(input), ports: [ANY_UDP] },
  ]).map(({ peers, ports }) => ({ to: peers, ports }));
}

/** Probes come from the pod's own node, which no policy keeps out. Our own two ports serve metrics to whoever collects them. */
function ingressRules(input: NetworkPoliciesInput, { servedPorts }: NonNullable<NetworkPoliciesInput['ingress']>): readonly IngressRuleShape[] {
  const own = Object.values(PORTS).map((port): ServedPort => ({ protocol: 'tcp', port }));
  const peers = rules([{ peers: outside(input), ports: [ANY_UDP] }]).map((rule) => ({ from: rule.peers, ports: rule.ports }));
  return [{ ports: unique([...servedPorts, ...own].map(portOf)) }, ...peers];
}

interface Rule {
  readonly peers: readonly PolicyPeerShape[];
  readonly ports: readonly PolicyPortShape[];
}

/** Sorted; what has the same ports is one rule. A rule without peers or without ports is none: Kubernetes would read it as everything. */
function rules(given: readonly Rule[]): readonly Rule[] {
  const byPorts = new Map<string, Rule>();
  for (const { peers, ports } of given) {
    if (peers.length === 0 || ports.length === 0) continue;
    const sorted = unique(ports);
    const key = JSON.stringify(sorted);
    byPorts.set(key, { ports: sorted, peers: unique([...(byPorts.get(key)?.peers ?? []), ...peers]) });
  }
  return [...byPorts.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, rule]) => rule);
}

/** Each once, in the order of their text. */
const unique = <T>(items: readonly T[]): readonly T[] =>
  [...new Map(items.map((item) => [JSON.stringify(item), item])).entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, item]) => item);

const portOf = ({ protocol, port }: NetworkPolicyPort): PolicyPortShape => ({ protocol: protocol === 'udp' ? 'UDP' : 'TCP', port });

function peersOf(destination: NetworkPolicyDestination, input: NetworkPoliciesInput): readonly PolicyPeerShape[] {
  if (destination.kind === 'outside') return outside(input);
  if (destination.kind === 'networks') return widest(destination.networks).map((cidr) => ({ ipBlock: { cidr: formatCidr(cidr) } }));
  const { namespaceLabels, podLabels } = destination;
  return [{ namespaceSelector: selectorOf(namespaceLabels), podSelector: selectorOf(podLabels) }];
}

/** As the API server gives it back: one without labels has none written. */
const selectorOf = (labels: Readonly<Record<string, string>>): LabelSelectorShape =>
  Object.keys(labels).length === 0 ? {} : { matchLabels: sorted(labels) };

const sorted = (labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));

/**
 * All addresses that are neither the cluster's nor withheld. A family that those fill has none: the API server takes no exception that is the whole. Nor has
 * one of which nobody says where pods are: where they have no address of it nothing is lost, since they send nothing there; where they have, they would be open.
 */
function outside({ ranges, withheld = [] }: NetworkPoliciesInput): readonly PolicyPeerShape[] {
  const pods = widest(ranges.pods);
  const holes = widest([...ranges.pods, ...ranges.services, ...ranges.nodes, ...withheld]);
  return ([4, 6] as const).flatMap((family) => {
    const except = holes.filter((hole) => hole.family === family);
    if (!pods.some((range) => range.family === family)) return [];
    if (except.some(({ prefixLength }) => prefixLength === 0)) return [];
    return [{ ipBlock: { cidr: family === 4 ? '0.0.0.0/0' : '::/0', except: except.map(formatCidr) } }];
  });
}

/** Without those that lie in another, host bits cleared, sorted. */
function widest(texts: readonly string[]): readonly Cidr[] {
  const ranges = new Map(texts.map(read).map((range) => [formatCidr(range), range]));
  const isInAnother = (range: Cidr): boolean => [...ranges.values()].some((other) => other !== range && cidrContains(other, range));
  return [...ranges.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, range]) => range)
    .filter((range) => !isInAnother(range));
}

function read(text: string): Cidr {
  const address = parseAddress(text);
  const range = parseCidr(text) ?? (address && hostCidr(address));
  if (range !== undefined && !isIpv4Mapped(range)) return networkOf(range);
  throw new BifrostError({
    code: 'INVALID_ARGUMENT',
    message: 'a NetworkPolicy needs addresses and ranges that can be read, none of them IPv4 written as IPv6',
  });
}
