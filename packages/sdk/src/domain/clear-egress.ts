import { type Cidr, cidrContains, cidrsOverlap, parseCidr } from '@bifrost/types/core';
import type { ClusterRanges } from './model.ts';
import type { EgressRuleShape, LabelSelectorShape, NetworkPolicyShape } from './network-policy-shape.ts';

/** What is to be kept from leaving a pod in clear. */
export interface ProtectedEgress {
  /** The pod's own, the sidecar's among them. */
  readonly labels: Readonly<Record<string, string>>;
  /** Allowed and blocked networks, and the tailnets' own. */
  readonly networks: readonly string[];
  /** Addresses of the cluster may lie inside those; what goes there never was for the customer, and a policy may let it. Default: none. */
  readonly clusterRanges?: ClusterRanges;
}

/**
 * `denied` when NetworkPolicies (all of the pod's namespace) let no packet of the pod out to the networks: what userspace mode has in place of the
 * guard. As Kubernetes judges: a pod that no policy with `Egress` selects may send anywhere; one that some select may send where any rule of
 * any of them lets it. A rule that lets one port through lets packets through. Whether the network plugin enforces policies, nobody can read here.
 */
export function clearEgress(
  policies: readonly NetworkPolicyShape[],
  { labels, networks, clusterRanges = { pods: [], services: [], nodes: [] } }: ProtectedEgress,
): 'denied' | 'possible' {
  const selecting = policies.filter((policy) => isForEgress(policy) && selects(policy.podSelector, labels));
  const cluster = cidrs([...clusterRanges.pods, ...clusterRanges.services, ...clusterRanges.nodes]);
  const wanted = cidrs(networks);
  const isLetOut = selecting.some(({ egress }) => egress.some((rule) => wanted.some((network) => permits(rule, network, cluster))));
  return selecting.length === 0 || isLetOut ? 'possible' : 'denied';
}

/** A policy without types has `Egress` when it has egress rules; the API server always writes them out. */
const isForEgress = ({ policyTypes, egress }: NetworkPolicyShape): boolean =>
  policyTypes.length === 0 ? egress.length > 0 : policyTypes.includes('Egress');

/** Whether a selector selects what carries these labels, as Kubernetes judges. */
export function selects({ matchLabels = {}, matchExpressions = [] }: LabelSelectorShape, labels: Readonly<Record<string, string>>): boolean {
  if (!Object.entries(matchLabels).every(([key, value]) => labels[key] === value)) return false;
  return matchExpressions.every(({ key, operator, values = [] }) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined; // a policy may ask for `constructor`
    if (operator === 'In') return value !== undefined && values.includes(value);
    if (operator === 'NotIn') return value === undefined || !values.includes(value);
    if (operator === 'Exists') return value !== undefined;
    return operator === 'DoesNotExist' && value === undefined;
  });
}

/** Whether the rule lets a packet out to any address of `network` that is not the cluster's. Peers that are pods lie in the cluster. */
function permits({ to = [] }: EgressRuleShape, network: Cidr, cluster: readonly Cidr[]): boolean {
  if (to.length === 0) return hasAddressOutside(network, cluster);
  return to.some(({ ipBlock }) => {
    const block = ipBlock && parseCidr(ipBlock.cidr);
    if (block === undefined || !cidrsOverlap(block, network)) return false;
    const both = block.prefixLength > network.prefixLength ? block : network; // of two ranges that overlap, one contains the other
    return hasAddressOutside(both, [...cluster, ...cidrs(ipBlock?.except ?? [])]);
  });
}

/** True when some address of `range` lies in none of `holes`. */
function hasAddressOutside(range: Cidr, holes: readonly Cidr[]): boolean {
  const inside = holes.filter((hole) => cidrsOverlap(hole, range));
  if (inside.length === 0) return true;
  if (inside.some((hole) => cidrContains(hole, range))) return false;
  return halvesOf(range).some((half) => hasAddressOutside(half, inside));
}

/** Never asked of a single address: whatever overlaps that contains it. */
function halvesOf({ family, bytes, prefixLength }: Cidr): readonly Cidr[] {
  const bit = 0x80 >> (prefixLength % 8);
  const at = Math.floor(prefixLength / 8);
  return [0, bit].map((value) => ({
    family,
    bytes: bytes.map((byte, index) => (index === at ? (byte & ~bit) | value : byte)),
    prefixLength: prefixLength + 1,
  }));
}

const cidrs = (texts: readonly string[]): readonly Cidr[] => texts.flatMap((text) => parseCidr(text) ?? []);
