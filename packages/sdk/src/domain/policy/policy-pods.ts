import { type Cidr, formatCidr, type IpAddress, networkOf, parseAddress } from '@bifrost/types/core';
import { LABELS } from '../names.ts';
import type { NetworkPolicyShape } from '../network-policy-shape.ts';
import { RangeTable, rangesOf } from './address-points.ts';
import type { JudgedPod } from './judge-network-policy.ts';
import type { PodEvidence } from './proof-evidence.ts';

/** A pod of some customer, as it was read. */
export interface Pod extends JudgedPod {
  readonly name: string;
  readonly customerId: string;
}

/** What is known of a namespace: Kubernetes itself gives each its name as a label. */
export const NAME_LABEL = 'kubernetes.io/metadata.name';

/** All ranges that policies name, each once. */
function rangesNamedBy(policies: readonly NetworkPolicyShape[]): readonly Cidr[] {
  const peers = policies.flatMap(({ egress, ingress }) => [...egress.flatMap(({ to = [] }) => to), ...ingress.flatMap(({ from = [] }) => from)]);
  const texts = new Set(peers.flatMap(({ ipBlock }) => (ipBlock === undefined ? [] : [ipBlock.cidr, ...(ipBlock.except ?? [])])));
  const ranges = rangesOf([...texts]).map(networkOf);
  return [...new Map(ranges.map((range) => [formatCidr(range), range])).values()];
}

/** Pods that no policy can tell from each other, neither by labels nor by addresses, are one here: the first of them stands for all. */
export function podKinds(pods: readonly PodEvidence[], policies: readonly NetworkPolicyShape[]): readonly Pod[] {
  const ranges = new RangeTable(rangesNamedBy(policies).map((range, at) => [range, at] as const));
  const found = new Map<string, Pod>();
  for (const { namespace, name, customerId, labels, addresses } of pods) {
    const parsed: readonly IpAddress[] = addresses.flatMap((text) => parseAddress(text) ?? []);
    if (customerId === undefined || parsed.length === 0) continue;
    const places = parsed.map((address) => [address.family, ...ranges.at(address)]);
    const key = JSON.stringify([namespace, Object.entries(labels).sort(), places]);
    const namespaceLabels = { [NAME_LABEL]: namespace, [LABELS.customerId]: customerId };
    if (!found.has(key)) found.set(key, { namespace, name, customerId, labels, namespaceLabels, addresses: parsed });
  }
  return [...found.values()];
}
