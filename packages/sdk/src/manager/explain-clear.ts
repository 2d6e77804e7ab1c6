import { type ExplainStep, formatAddress, type PacketProtocol, parseAddress } from '@bifrost/types/core';
import type { StoredSidecar } from '../domain/model.ts';
import { clearStep } from '../domain/policy/explain-clear.ts';
import type { JudgedPod, JudgedPolicy } from '../domain/policy/judge-network-policy.ts';
import type { Pod } from '../ports/index.ts';
import type { Call, Context } from './context.ts';
import { addressesOfPod } from './pod-addresses.ts';
import { isVisible } from './scope.ts';
import { knownRanges } from './sidecar-render.ts';

interface ClearPacket {
  readonly to: string;
  readonly port: number;
  readonly protocol: PacketProtocol;
}

const judged = ({ namespace, labels, ...pod }: Pod): JudgedPod => ({
  ...{ namespace, labels, namespaceLabels: { 'kubernetes.io/metadata.name': namespace } },
  addresses: addressesOfPod(pod).flatMap((text) => parseAddress(text) ?? []),
});

/** Whose address it is, where whoever asks may know of that pod. */
async function receiverOf(
  { cluster }: Context,
  { packet, pods, namespace, signal, scope }: Call & { readonly packet: ClearPacket; readonly pods: readonly Pod[]; readonly namespace: string },
): Promise<Pod | undefined> {
  const address = parseAddress(packet.to);
  const to = pods.find((pod) => address !== undefined && addressesOfPod(pod).includes(formatAddress(address)));
  if (to === undefined || to.namespace === namespace || isVisible(undefined, scope)) return to;
  return isVisible(await cluster.workloads.customerOf(to.namespace, { signal }), scope) ? to : undefined;
}

/** What the NetworkPolicies that are there now do with a packet of this book that does not go into the tunnel. Undefined: none has a say, or no pod runs. */
export async function explainClear(
  context: Context,
  { spec: { workload } }: StoredSidecar,
  { packet, ...call }: Call & { readonly packet: ClearPacket },
): Promise<ExplainStep | undefined> {
  const { pods, topology } = context.cluster;
  const all = await pods.list(call);
  const from = all.find((pod) => pod.workloadUid === workload.uid && pod.namespace === workload.namespace && !pod.deleting);
  if (from === undefined || workload.uid === '') return undefined;
  const to = await receiverOf(context, { ...call, packet, pods: all, namespace: workload.namespace });
  const policies: JudgedPolicy[] = [];
  for (const namespace of new Set([from, ...(to === undefined ? [] : [to])].map((pod) => pod.namespace)))
    policies.push(...(await topology.networkPolicies(namespace, call)).map((policy) => ({ ...policy, namespace })));
  return clearStep({
    ...{ ...packet, policies, from: judged(from), toPod: to && judged(to) },
    hidesPods: !isVisible(undefined, call.scope),
    ranges: await knownRanges(context, call),
    enforced: context.settings.networkPolicyEnforced,
  });
}
