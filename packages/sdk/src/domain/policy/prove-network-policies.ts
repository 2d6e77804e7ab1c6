import { cidrContains, type IpAddress, type ProofFinding, parseAddress, parseCidr } from '@bifrost/types/core';
import { selects } from '../clear-egress.ts';
import { LABELS } from '../names.ts';
import type { LabelSelectorShape, NetworkPolicyShape, PolicyPeerShape, PolicyPortShape } from '../network-policy-shape.ts';
import { type JudgedPod, type JudgedPolicy, judgeNetworkPolicy, type PolicyProtocol } from './judge-network-policy.ts';
import type { PodEvidence } from './proof-evidence.ts';

/** A pod of some customer, as it was read. */
interface Pod extends JudgedPod {
  readonly name: string;
  readonly customerId: string;
}

/** Policies of one namespace: those that speak of senders and receivers in it. */
type Policies = ReadonlyMap<string, readonly NetworkPolicyShape[]>;

type Found = Pick<ProofFinding, 'kind' | 'customerId' | 'otherCustomerId' | 'by' | 'where'>;

export const PROTOCOLS: readonly PolicyProtocol[] = ['TCP', 'UDP', 'SCTP'];

/** What is known of a namespace: Kubernetes itself gives each its name as a label. */
export const NAME_LABEL = 'kubernetes.io/metadata.name';
const KNOWN_LABELS: ReadonlySet<string> = new Set([NAME_LABEL, LABELS.customerId]);

/** What a selector asks of namespaces beyond what is known of them may be so: more is let through then than is, never less. */
const known = ({ matchLabels = {}, matchExpressions = [] }: LabelSelectorShape): LabelSelectorShape => ({
  matchLabels: Object.fromEntries(Object.entries(matchLabels).filter(([key]) => KNOWN_LABELS.has(key))),
  matchExpressions: matchExpressions.filter(({ key }) => KNOWN_LABELS.has(key)),
});
const knownPeer = (peer: PolicyPeerShape): PolicyPeerShape =>
  peer.namespaceSelector === undefined ? peer : { ...peer, namespaceSelector: known(peer.namespaceSelector) };

const judgedIn = (policies: Policies, namespace: string): readonly JudgedPolicy[] =>
  (policies.get(namespace) ?? []).map((policy) => ({
    ...{ ...policy, namespace },
    egress: policy.egress.map((rule) => (rule.to === undefined ? rule : { ...rule, to: rule.to.map(knownPeer) })),
    ingress: policy.ingress.map((rule) => (rule.from === undefined ? rule : { ...rule, from: rule.from.map(knownPeer) })),
  }));

/** One port for each part of the ports in which no rule begins or ends, and each that a rule names. */
export function portsOf(policies: readonly JudgedPolicy[]): readonly number[] {
  const named = policies.flatMap(({ egress, ingress }) => [...egress, ...ingress].flatMap(({ ports = [] }): readonly PolicyPortShape[] => ports));
  const edges = named.flatMap(({ port, endPort }) => (typeof port === 'number' ? [port, (endPort ?? port) + 1] : []));
  return [...new Set([1, ...edges.filter((port) => port <= 65_535)])];
}

/** The policies that let some packet of one pod into another; undefined: none gets there. */
function wayBetween(from: Pod, to: Pod, policies: Policies): string | undefined {
  const judged = [...judgedIn(policies, from.namespace), ...(from.namespace === to.namespace ? [] : judgedIn(policies, to.namespace))];
  for (const address of to.addresses) {
    for (const protocol of PROTOCOLS) {
      for (const port of portsOf(judged)) {
        const { verdict, by } = judgeNetworkPolicy(judged, { from, to: address, toPod: to, protocol, port });
        if (verdict === 'allowed') return by ?? 'no policy';
      }
    }
  }
  return undefined;
}

/** Pods that policies cannot tell from each other stand for all of them. */
function kinds(pods: readonly PodEvidence[]): readonly Pod[] {
  const found = new Map<string, Pod>();
  for (const { namespace, name, customerId, labels, addresses } of pods) {
    const parsed: readonly IpAddress[] = addresses.flatMap((text) => parseAddress(text) ?? []);
    if (customerId === undefined || parsed.length === 0) continue;
    const key = JSON.stringify([namespace, Object.entries(labels).sort()]);
    const namespaceLabels = { [NAME_LABEL]: namespace, [LABELS.customerId]: customerId };
    if (!found.has(key)) found.set(key, { namespace, name, customerId, labels, namespaceLabels, addresses: parsed });
  }
  return [...found.values()];
}

/** Which pods a peer of a rule may mean; the same peers are in many namespaces' policies, so each is looked at once. */
class Peers {
  readonly #pods: readonly Pod[];
  readonly #known = new Map<string, readonly Pod[]>();

  constructor(pods: readonly Pod[]) {
    this.#pods = pods;
  }

  /** More than those that are reached, never fewer. One of a sender's own namespace is of its own customer. */
  of(from: Pod, policies: readonly JudgedPolicy[]): readonly Pod[] {
    const isolating = policies.filter(
      ({ policyTypes, podSelector, egress }) =>
        (policyTypes.length === 0 ? egress.length > 0 : policyTypes.includes('Egress')) && selects(podSelector, from.labels),
    );
    const rules = isolating.flatMap(({ egress }) => egress);
    if (isolating.length === 0 || rules.some(({ to = [] }) => to.length === 0)) return this.#pods;
    return [...new Set(rules.flatMap(({ to = [] }) => to.flatMap((peer) => this.#meant(peer))))];
  }

  #meant(peer: PolicyPeerShape): readonly Pod[] {
    const key = JSON.stringify(peer);
    const known = this.#known.get(key) ?? this.#pods.filter((pod) => isMeant(peer, pod));
    this.#known.set(key, known);
    return known;
  }
}

function isMeant({ ipBlock, podSelector, namespaceSelector }: PolicyPeerShape, { addresses, labels, namespaceLabels }: Pod): boolean {
  if (ipBlock !== undefined) {
    const block = parseCidr(ipBlock.cidr);
    return block === undefined || addresses.some((address) => cidrContains(block, address));
  }
  if (namespaceSelector === undefined) return false;
  return selects(namespaceSelector, namespaceLabels) && selects(podSelector ?? {}, labels);
}

/**
 * Which customers' pods reach another customer's pod by the cluster's network, as Kubernetes judges. One way for each two customers is told, and at most
 * `limit` of them.
 */
export function* proveNetworkPolicies(pods: readonly PodEvidence[], policies: Policies, limit: number): Generator<Found, void, void> {
  const all = kinds(pods);
  const peers = new Peers(all);
  const told = new Set<string>();
  for (const from of all) {
    for (const to of peers.of(from, judgedIn(policies, from.namespace))) {
      const pair = JSON.stringify([from.customerId, to.customerId]);
      if (from.customerId === to.customerId || told.has(pair)) continue;
      const by = wayBetween(from, to, policies);
      if (by === undefined) continue;
      told.add(pair);
      const ends = { customerId: from.customerId, otherCustomerId: to.customerId };
      yield { kind: 'reaches-other-pod', ...ends, by, where: `pod ${from.namespace}/${from.name} to ${to.namespace}/${to.name}` };
      if (told.size >= limit) return;
    }
  }
}
