import { type Cidr, cidrContains, formatAddress, type IpAddress, parseCidr } from '@bifrost/types/core';
import type { LabelSelectorShape, NetworkPolicyShape, PolicyPeerShape, PolicyPortShape } from '../network-policy-shape.ts';

type Labels = Readonly<Record<string, string>>;

/** A policy as it was read back, and the namespace that it was read from. */
export interface JudgedPolicy extends NetworkPolicyShape {
  readonly namespace: string;
}

/** A pod with addresses of its own. One in the node's network is none here: policies do not select it, and whoever sends to it sends to an address. */
export interface JudgedPod {
  readonly namespace: string;
  readonly namespaceLabels: Labels;
  readonly labels: Labels;
  readonly addresses: readonly IpAddress[];
  /** What its containers declare, for rules that name a port. Default: none. */
  readonly namedPorts?: readonly { readonly name: string; readonly protocol: PolicyProtocol; readonly port: number }[];
}

export type PolicyProtocol = 'TCP' | 'UDP' | 'SCTP';

/** The first packet of a connection; answers need no rule. After a Service's address was replaced by a pod's, where one was. */
export interface JudgedPacket {
  readonly from: JudgedPod;
  /** Of the node that the sender runs on: what goes there is always let. Default: not known, so judged by the rules. */
  readonly fromNode?: readonly IpAddress[];
  readonly to: IpAddress;
  /** Whose address that is, where it is a pod's. */
  readonly toPod?: JudgedPod;
  readonly protocol: PolicyProtocol;
  readonly port: number;
}

/** `by` is `namespace/name`: the policy that lets it, or the first of those that shut the pod off; undefined when no policy has a say. */
export interface NetworkPolicyVerdict {
  readonly verdict: 'allowed' | 'denied';
  readonly by: string | undefined;
}

/**
 * Whether Kubernetes lets a packet through: out of the sender and, where a pod is sent to, into that. Policies are those of both namespaces; others do no
 * harm. It knows nothing of how they were made, so that it can judge those that Bifrost made.
 */
export function judgeNetworkPolicy(policies: readonly JudgedPolicy[], packet: JudgedPacket): NetworkPolicyVerdict {
  const { from, fromNode = [], to, toPod } = packet;
  if ([...from.addresses, ...fromNode].some((own) => formatAddress(own) === formatAddress(to))) return { verdict: 'allowed', by: undefined };
  const out = verdictOf(policies.filter(isolates(from, 'Egress')), (policy) =>
    policy.egress.some((rule) => permits(rule.to, rule.ports, { policy, packet, other: toPod, address: to })),
  );
  if (out.verdict === 'denied' || toPod === undefined) return out;
  const source = from.addresses.find(({ family }) => family === to.family);
  const into = verdictOf(policies.filter(isolates(toPod, 'Ingress')), (policy) =>
    policy.ingress.some((rule) => permits(rule.from, rule.ports, { policy, packet, other: from, address: source })),
  );
  return into.verdict === 'denied' || out.by === undefined ? into : out;
}

/** None of them: the pod is open in that direction. */
function verdictOf(isolating: readonly JudgedPolicy[], lets: (policy: JudgedPolicy) => boolean): NetworkPolicyVerdict {
  const sorted = [...isolating].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  const [first] = sorted;
  const letting = sorted.find(lets);
  if (first === undefined || letting !== undefined) return { verdict: 'allowed', by: letting && nameOf(letting) };
  return { verdict: 'denied', by: nameOf(first) };
}

const nameOf = ({ namespace, name }: JudgedPolicy): string => `${namespace}/${name}`;

const isolates =
  ({ namespace, labels }: JudgedPod, type: 'Egress' | 'Ingress') =>
  (policy: JudgedPolicy): boolean =>
    policy.namespace === namespace && typesOf(policy).includes(type) && matches(policy.podSelector, labels);

/** What the API server writes out for a policy that names no types. */
export const typesOf = ({ policyTypes, egress }: JudgedPolicy): readonly string[] => {
  if (policyTypes.length > 0) return policyTypes;
  return egress.length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
};

interface Question {
  readonly policy: JudgedPolicy;
  readonly packet: JudgedPacket;
  /** At the other end, as the policy's pod sees it. */
  readonly other: JudgedPod | undefined;
  readonly address: IpAddress | undefined;
}

const permits = (peers: readonly PolicyPeerShape[] = [], ports: readonly PolicyPortShape[] = [], question: Question): boolean =>
  // Ports first: a rule may name hundreds of peers.
  (ports.length === 0 || ports.some((port) => isPort(port, question.packet))) && (peers.length === 0 || peers.some((peer) => isPeer(peer, question)));

function isPeer({ ipBlock, podSelector, namespaceSelector }: PolicyPeerShape, { policy, other, address }: Question): boolean {
  if (ipBlock !== undefined) return address !== undefined && isInBlock(ipBlock, address);
  if (other === undefined) return false;
  const inNamespace = namespaceSelector === undefined ? other.namespace === policy.namespace : matches(namespaceSelector, other.namespaceLabels);
  return inNamespace && matches(podSelector ?? {}, other.labels);
}

/** What cannot be read may hold the address, and takes none out: a packet is never called denied for lack of understanding. */
function isInBlock({ cidr, except = [] }: NonNullable<PolicyPeerShape['ipBlock']>, address: IpAddress): boolean {
  const holds = (range: Cidr | undefined): boolean | undefined => range && cidrContains(range, address);
  return (holds(parseCidr(cidr)) ?? true) && !except.some((hole) => holds(parseCidr(hole)) ?? false);
}

/** A named port is that of the pod that is sent to; an address outside the cluster has none. */
function isPort({ protocol = 'TCP', port, endPort }: PolicyPortShape, packet: JudgedPacket): boolean {
  if (protocol !== packet.protocol) return false;
  if (port === undefined) return true;
  if (typeof port === 'number') return port <= packet.port && packet.port <= (endPort ?? port);
  return (packet.toPod?.namedPorts ?? []).some((named) => named.name === port && named.protocol === protocol && named.port === packet.port);
}

function matches({ matchLabels = {}, matchExpressions = [] }: LabelSelectorShape, labels: Labels): boolean {
  const has = (key: string, values: readonly string[]): boolean => Object.hasOwn(labels, key) && values.includes(labels[key] ?? '');
  return (
    Object.entries(matchLabels).every(([key, value]) => has(key, [value])) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      if (operator === 'Exists' || operator === 'DoesNotExist') return Object.hasOwn(labels, key) === (operator === 'Exists');
      return operator === 'In' ? has(key, values) : operator === 'NotIn' && !has(key, values);
    })
  );
}
