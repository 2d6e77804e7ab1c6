import { selects } from '../clear-egress.ts';
import { LABELS } from '../names.ts';
import type { EgressRuleShape, LabelSelectorShape, PolicyPeerShape, PolicyPortShape } from '../network-policy-shape.ts';
import { AddressOrder } from './address-order.ts';
import { type JudgedPolicy, typesOf } from './judge-network-policy.ts';
import { NAME_LABEL, type Pod } from './policy-pods.ts';

type Ports = readonly PolicyPortShape[];

/** Which pods peers of rules may mean. The same peers are in many namespaces' policies, so each is looked at once. */
class Peers {
  readonly #pods: readonly Pod[];
  readonly #byAddress: AddressOrder<Pod>;
  readonly #byNamespace: ReadonlyMap<string, readonly Pod[]>;
  readonly #byCustomer: ReadonlyMap<string, readonly Pod[]>;
  readonly #known = new Map<string, readonly Pod[]>();

  constructor(pods: readonly Pod[]) {
    this.#pods = pods;
    this.#byAddress = new AddressOrder(pods.flatMap((pod) => pod.addresses.map((address) => [address, pod] as const)));
    this.#byNamespace = Map.groupBy(pods, ({ namespace }) => namespace);
    this.#byCustomer = Map.groupBy(pods, ({ customerId }) => customerId);
  }

  of(peers: readonly PolicyPeerShape[] = []): readonly Pod[] {
    if (peers.length === 0) return this.#pods;
    return [...new Set(peers.flatMap((peer) => this.#meant(peer)))];
  }

  #meant(peer: PolicyPeerShape): readonly Pod[] {
    const key = JSON.stringify(peer);
    const known = this.#known.get(key) ?? this.#asked(peer);
    this.#known.set(key, known);
    return known;
  }

  /** Without a selector of namespaces those of the policy's own are meant: of them none is another customer's. */
  #asked({ ipBlock, podSelector = {}, namespaceSelector }: PolicyPeerShape): readonly Pod[] {
    if (ipBlock !== undefined) return this.#byAddress.in(ipBlock);
    if (namespaceSelector === undefined) return [];
    return this.#near(namespaceSelector).filter(
      ({ labels, namespaceLabels }) => selects(namespaceSelector, namespaceLabels) && selects(podSelector, labels),
    );
  }

  #near({ matchLabels = {} }: LabelSelectorShape): readonly Pod[] {
    const [name, customerId] = [matchLabels[NAME_LABEL], matchLabels[LABELS.customerId]];
    if (name !== undefined) return this.#byNamespace.get(name) ?? [];
    return customerId === undefined ? this.#pods : (this.#byCustomer.get(customerId) ?? []);
  }
}

/**
 * Whom a pod may reach by the rules of policies, each rule looked at once for all pods: more than it does reach, never fewer, so that packets are judged
 * one by one only where rules of both ends have pods and ports in common.
 */
export class Reach {
  readonly #peers: Peers;
  readonly #policies: ReadonlyMap<string, readonly JudgedPolicy[]>;
  readonly #doors = new Map<Pod, readonly Ports[]>();
  readonly #reached = new Map<string, readonly Pod[]>();

  constructor(pods: readonly Pod[], policies: ReadonlyMap<string, readonly JudgedPolicy[]>) {
    this.#peers = new Peers(pods);
    this.#policies = policies;
  }

  of(from: Pod): readonly Pod[] {
    const isolating = this.#isolating(from, 'Egress');
    const rules = isolating.length === 0 ? [{}] : isolating.flatMap(({ egress }) => egress);
    return [...new Set(rules.flatMap((rule) => this.#reachedBy(rule)))];
  }

  #reachedBy(rule: EgressRuleShape): readonly Pod[] {
    const key = JSON.stringify(rule);
    const known =
      this.#reached.get(key) ?? this.#peers.of(rule.to).filter((to) => this.#doorsOf(to).some((ports) => doMeet(ports, rule.ports ?? [])));
    this.#reached.set(key, known);
    return known;
  }

  /** Ports by which somebody of another customer may come in. */
  #doorsOf(to: Pod): readonly Ports[] {
    const known = this.#doors.get(to) ?? this.#askedOf(to);
    this.#doors.set(to, known);
    return known;
  }

  #askedOf(to: Pod): readonly Ports[] {
    const isolating = this.#isolating(to, 'Ingress');
    if (isolating.length === 0) return [[]];
    const rules = isolating.flatMap(({ ingress }) => ingress);
    return rules.filter(({ from }) => this.#peers.of(from).some(({ customerId }) => customerId !== to.customerId)).map(({ ports = [] }) => ports);
  }

  #isolating({ namespace, labels }: Pod, direction: 'Egress' | 'Ingress'): readonly JudgedPolicy[] {
    return (this.#policies.get(namespace) ?? []).filter((policy) => typesOf(policy).includes(direction) && selects(policy.podSelector, labels));
  }
}

/** Whether some port is in both. None: every port of every protocol. */
const doMeet = (some: Ports, others: Ports): boolean =>
  some.length === 0 || others.length === 0 || some.some((one) => others.some((other) => haveCommon(one, other)));

function haveCommon(one: PolicyPortShape, other: PolicyPortShape): boolean {
  if ((one.protocol ?? 'TCP') !== (other.protocol ?? 'TCP')) return false;
  const [a, b] = [one, other].map(({ port, endPort }) => (typeof port === 'number' ? ([port, endPort ?? port] as const) : undefined));
  return a === undefined || b === undefined || (a[0] <= b[1] && b[0] <= a[1]);
}
