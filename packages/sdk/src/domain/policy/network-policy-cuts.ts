import { type Cidr, cidrContains, cidrsOverlap, parseCidr } from '@bifrost/types/core';
import { selects } from '../clear-egress.ts';
import type { LabelSelectorShape, NetworkPolicyShape, PolicyPeerShape, PolicyPortShape } from '../network-policy-shape.ts';

/** What a pod loses. `cut` is for people: `everything but port 53 of pods k8s-app=kube-dns …`. */
export interface CutRow {
  /** `egress`: it could send there. `ingress`: those could send to it. */
  readonly direction: Direction;
  readonly protocol: Protocol;
  readonly cut: string;
}

type Direction = 'egress' | 'ingress';
const PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const;
type Protocol = (typeof PROTOCOLS)[number];
type Labels = Readonly<Record<string, string>>;

/** One peer and one port of a rule, of one protocol. No `peer`: any. No `port`: any. */
interface Permission {
  readonly protocol: Protocol;
  readonly peer: PolicyPeerShape | undefined;
  readonly port: Pick<PolicyPortShape, 'port' | 'endPort'> | undefined;
}

/**
 * What a pod with these labels could reach under the policies of its namespace and no longer can when `ours` are among them, in place of those of the
 * same name. Policies add up, so where some other selects the pod already, ours take nothing away; where none does, it could send anywhere, and the first
 * one cuts all that it does not name.
 *
 * Never leaves a loss out. It may tell one that is none: what two rules together still let is not put together. ICMP is not in it, for Kubernetes says
 * nothing of it.
 */
export function cutBy(existing: readonly NetworkPolicyShape[], ours: readonly NetworkPolicyShape[], podLabels: Labels): readonly CutRow[] {
  const replaced = new Set(ours.map(({ name }) => name));
  const after = [...existing.filter(({ name }) => !replaced.has(name)), ...ours];
  return (['egress', 'ingress'] as const).flatMap((direction) => {
    const selecting = (policies: readonly NetworkPolicyShape[]) =>
      policies.filter((policy) => isFor(policy, direction) && selects(policy.podSelector, podLabels));
    const [before, now] = [selecting(existing), selecting(after)];
    if (now.length === 0) return [];
    const kept = permissionsOf(now, direction);
    return before.length === 0 ? cutFromAll(kept, direction) : cutFromSome(permissionsOf(before, direction), kept, direction);
  });
}

const isFor = ({ policyTypes, egress }: NetworkPolicyShape, direction: Direction): boolean => {
  if (policyTypes.length > 0) return policyTypes.includes(direction === 'egress' ? 'Egress' : 'Ingress');
  return direction === 'ingress' || egress.length > 0;
};

function permissionsOf(policies: readonly NetworkPolicyShape[], direction: Direction): readonly Permission[] {
  const rules = policies.flatMap(({ egress, ingress }) =>
    direction === 'egress' ? egress.map(({ to, ports }) => ({ peers: to, ports })) : ingress.map(({ from, ports }) => ({ peers: from, ports })),
  );
  return rules.flatMap(({ peers = [], ports = [] }) => {
    const anyPort = PROTOCOLS.map((protocol) => ({ protocol, port: undefined }));
    const wanted = ports.length === 0 ? anyPort : ports.map((port) => ({ protocol: (port.protocol ?? 'TCP') as Protocol, port: numbered(port) }));
    return wanted.flatMap((port) => (peers.length === 0 ? [undefined] : peers).map((peer) => ({ peer, ...port })));
  });
}

const numbered = ({ port, endPort }: PolicyPortShape): Permission['port'] =>
  port === undefined ? undefined : { port, ...(endPort === undefined ? {} : { endPort }) };

function cutFromAll(kept: readonly Permission[], direction: Direction): readonly CutRow[] {
  return PROTOCOLS.flatMap((protocol) => {
    const those = kept.filter((permission) => permission.protocol === protocol);
    if (those.some(({ peer, port }) => peer === undefined && port === undefined)) return [];
    return [{ direction, protocol, cut: those.length === 0 ? 'everything' : `everything but ${distinct(those.map(textOf)).join('; ')}` }];
  });
}

function cutFromSome(before: readonly Permission[], kept: readonly Permission[], direction: Direction): readonly CutRow[] {
  const lost = before.filter((one) => !kept.some((other) => covers(other, one)));
  return PROTOCOLS.flatMap((protocol) =>
    distinct(lost.filter((permission) => permission.protocol === protocol).map(textOf)).map((cut) => ({ direction, protocol, cut })),
  );
}

const distinct = (texts: readonly string[]): readonly string[] => [...new Set(texts)].sort();

/** True when whatever `inner` lets, `outer` lets too. */
const covers = (outer: Permission, inner: Permission): boolean =>
  outer.protocol === inner.protocol && coversPort(outer.port, inner.port) && coversPeer(outer.peer, inner.peer);

function coversPort(outer: Permission['port'], inner: Permission['port']): boolean {
  if (outer === undefined) return true;
  if (inner === undefined) return false;
  const [from, to] = [Number(outer.port), outer.endPort ?? Number(outer.port)];
  if (typeof outer.port === 'string' || typeof inner.port === 'string') return outer.port === inner.port;
  return from <= Number(inner.port) && (inner.endPort ?? Number(inner.port)) <= to;
}

function coversPeer(outer: PolicyPeerShape | undefined, inner: PolicyPeerShape | undefined): boolean {
  if (outer === undefined) return true;
  if (inner === undefined) return false;
  if (outer.ipBlock === undefined || inner.ipBlock === undefined) return textOfPeer(outer) === textOfPeer(inner);
  const [wide, narrow] = [parseCidr(outer.ipBlock.cidr), parseCidr(inner.ipBlock.cidr)];
  if (wide === undefined || narrow === undefined || !cidrContains(wide, narrow)) return false;
  const without = cidrs(inner.ipBlock.except);
  return cidrs(outer.ipBlock.except).every((hole) => !cidrsOverlap(hole, narrow) || without.some((other) => cidrContains(other, hole)));
}

const cidrs = (texts: readonly string[] = []): readonly Cidr[] => texts.flatMap((text) => parseCidr(text) ?? []);

const textOf = ({ peer, port }: Permission): string => `${textOfPort(port)} of ${peer === undefined ? 'any address' : textOfPeer(peer)}`;

function textOfPort(port: Permission['port']): string {
  if (port === undefined) return 'every port';
  return port.endPort === undefined ? `port ${port.port}` : `ports ${port.port}-${port.endPort}`;
}

function textOfPeer({ ipBlock, podSelector, namespaceSelector }: PolicyPeerShape): string {
  if (ipBlock !== undefined) return [ipBlock.cidr, ...(ipBlock.except?.length ? [`but ${[...ipBlock.except].sort().join(', ')}`] : [])].join(' ');
  const pods = `pods ${textOfSelector(podSelector ?? {}) || 'of every label'}`;
  if (namespaceSelector === undefined) return `${pods} in its own namespace`;
  return `${pods} in ${textOfSelector(namespaceSelector) ? `namespaces ${textOfSelector(namespaceSelector)}` : 'every namespace'}`;
}

/** As kubectl writes it. */
function textOfSelector({ matchLabels = {}, matchExpressions = [] }: LabelSelectorShape): string {
  const expressions = matchExpressions.map(({ key, operator, values = [] }) => {
    if (operator === 'Exists') return key;
    return operator === 'DoesNotExist' ? `!${key}` : `${key} ${operator.toLowerCase()} (${[...values].sort().join(',')})`;
  });
  return [...Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`), ...expressions].sort().join(',');
}
