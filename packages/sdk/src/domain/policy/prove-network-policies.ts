import type { ProofFinding } from '@bifrost/types/core';
import { LABELS } from '../names.ts';
import type {
  EgressRuleShape,
  IngressRuleShape,
  LabelSelectorShape,
  NetworkPolicyShape,
  PolicyPeerShape,
  PolicyPortShape,
} from '../network-policy-shape.ts';
import { type JudgedPod, type JudgedPolicy, judgeNetworkPolicy, type PolicyProtocol } from './judge-network-policy.ts';
import { NAME_LABEL, podKinds } from './policy-pods.ts';
import { Reach } from './policy-reach.ts';
import type { PodEvidence } from './proof-evidence.ts';

/** Policies of one namespace: those that speak of senders and receivers in it. */
type Policies = ReadonlyMap<string, readonly NetworkPolicyShape[]>;

type Judged = ReadonlyMap<string, readonly JudgedPolicy[]>;

type Found = Pick<ProofFinding, 'kind' | 'customerId' | 'otherCustomerId' | 'by' | 'where'>;

const PROTOCOLS: readonly PolicyProtocol[] = ['TCP', 'UDP', 'SCTP'];

const KNOWN_LABELS: ReadonlySet<string> = new Set([NAME_LABEL, LABELS.customerId]);

/** What a selector asks of namespaces beyond what is known of them may be so: more is let through then than is, never less. */
const known = ({ matchLabels = {}, matchExpressions = [] }: LabelSelectorShape): LabelSelectorShape => ({
  matchLabels: Object.fromEntries(Object.entries(matchLabels).filter(([key]) => KNOWN_LABELS.has(key))),
  matchExpressions: matchExpressions.filter(({ key }) => KNOWN_LABELS.has(key)),
});
const knownPeer = (peer: PolicyPeerShape): PolicyPeerShape =>
  peer.namespaceSelector === undefined ? peer : { ...peer, namespaceSelector: known(peer.namespaceSelector) };

/** Which number a pod gives a name is not known here, so it may be any. */
const anyOfName = (each: PolicyPortShape): PolicyPortShape => (typeof each.port === 'string' ? { protocol: each.protocol ?? 'TCP' } : each);
const numbered = <Rule extends { readonly ports?: readonly PolicyPortShape[] }>(rule: Rule): Rule =>
  rule.ports === undefined ? rule : { ...rule, ports: rule.ports.map(anyOfName) };

/** The same policies where a port that is named may be any of its protocol. */
export const withAnyNamedPort = <Policy extends NetworkPolicyShape>(policy: Policy): Policy => ({
  ...policy,
  egress: policy.egress.map(numbered<EgressRuleShape>),
  ingress: policy.ingress.map(numbered<IngressRuleShape>),
});

const judgedIn = (policies: readonly NetworkPolicyShape[], namespace: string): readonly JudgedPolicy[] =>
  policies.map(withAnyNamedPort).map((policy) => ({
    ...{ ...policy, namespace },
    egress: policy.egress.map((rule) => (rule.to === undefined ? rule : { ...rule, to: rule.to.map(knownPeer) })),
    ingress: policy.ingress.map((rule) => (rule.from === undefined ? rule : { ...rule, from: rule.from.map(knownPeer) })),
  }));

/** One port for each part of the ports in which no rule begins or ends, and each that a rule names. */
function portsOf(policies: readonly JudgedPolicy[]): readonly number[] {
  const named = policies.flatMap(({ egress, ingress }) => [...egress, ...ingress].flatMap(({ ports = [] }): readonly PolicyPortShape[] => ports));
  const edges = named.flatMap(({ port, endPort }) => (typeof port === 'number' ? [port, (endPort ?? port) + 1] : []));
  return [...new Set([1, ...edges.filter((port) => port <= 65_535)])];
}

/** The policies that let some packet of one pod into another; undefined: none gets there. A pod without an address of a family sends nothing in it. */
export function wayBetween(from: JudgedPod, to: JudgedPod, policies: Judged): string | undefined {
  const namespaces = [...new Set([from.namespace, to.namespace])];
  const judged = namespaces.flatMap((namespace) => policies.get(namespace) ?? []);
  const ports = portsOf(judged);
  for (const address of to.addresses) {
    if (!from.addresses.some(({ family }) => family === address.family)) continue;
    for (const protocol of PROTOCOLS) {
      for (const port of ports) {
        const { verdict, by } = judgeNetworkPolicy(judged, { from, to: address, toPod: to, protocol, port });
        if (verdict === 'allowed') return by ?? 'no policy';
      }
    }
  }
  return undefined;
}

/**
 * Which customers' pods reach another customer's pod by the cluster's network, as Kubernetes judges. One way for each two customers is told, and at most
 * `limit` of them. Yields nothing between parts, so that whoever has more to do can do that.
 */
export function* proveNetworkPolicies(pods: readonly PodEvidence[], policies: Policies, limit: number): Generator<Found | undefined, void, void> {
  const all = podKinds(pods, [...policies.values()].flat());
  const judged = new Map([...policies].map(([namespace, of]) => [namespace, judgedIn(of, namespace)]));
  yield;
  const reach = new Reach(all, judged);
  const told = new Map<string, Set<string>>();
  let count = 0;
  for (const from of all) {
    yield;
    const others = told.get(from.customerId) ?? new Set([from.customerId]);
    told.set(from.customerId, others);
    for (const to of reach.of(from)) {
      if (others.has(to.customerId)) continue;
      const by = wayBetween(from, to, judged);
      if (by === undefined) {
        yield;
        continue;
      }
      others.add(to.customerId);
      const ends = { customerId: from.customerId, otherCustomerId: to.customerId };
      yield { kind: 'reaches-other-pod', ...ends, by, where: `pod ${from.namespace}/${from.name} to ${to.namespace}/${to.name}` };
      count += 1;
      if (count >= limit) return;
    }
  }
}
