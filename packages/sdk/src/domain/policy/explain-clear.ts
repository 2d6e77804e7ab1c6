import {
  cidrContains,
  type ExplainStep,
  type IpAddress,
  type PacketExplanation,
  type PacketProtocol,
  parseAddress,
  parseCidr,
} from '@bifrost/types/core';
import type { ClusterRanges } from '../model.ts';
import type { EgressRuleShape, PolicyPeerShape, PolicyPortShape } from '../network-policy-shape.ts';
import { type JudgedPod, type JudgedPolicy, judgeNetworkPolicy } from './judge-network-policy.ts';

/** What decides about a packet that goes by the pod's own network, as it was read. */
export interface ClearSurroundings {
  readonly to: string;
  readonly port: number;
  readonly protocol: PacketProtocol;
  /** All of the pod's namespace, and of the receiver's where that is known. */
  readonly policies: readonly JudgedPolicy[];
  readonly from: JudgedPod;
  /** Whose address it is, where that is known: then by its own labels and its namespace's name. */
  readonly toPod: JudgedPod | undefined;
  /** An address that no known pod has may be one's that the asker is to learn nothing of. Default: all pods are known. */
  readonly hidesPods?: boolean;
  readonly ranges: ClusterRanges | undefined;
  /** Whether somebody has said that the network plugin enforces policies. */
  readonly enforced: boolean;
}

const NAME_LABEL = 'kubernetes.io/metadata.name';
const ANYWHERE: readonly PolicyPeerShape[] = [{ ipBlock: { cidr: '0.0.0.0/0' } }, { ipBlock: { cidr: '::/0' } }];

const isIn = (ranges: readonly string[], address: IpAddress): boolean =>
  ranges.some((text) => {
    const range = parseCidr(text);
    return range !== undefined && cidrContains(range, address);
  });

/** Only what labels nobody here knows can decide. */
function isKnown({ namespaceSelector, ipBlock }: PolicyPeerShape, toPod: JudgedPod | undefined): boolean {
  if (ipBlock !== undefined) return true;
  if (toPod === undefined) return false;
  const keys = [...Object.keys(namespaceSelector?.matchLabels ?? {}), ...(namespaceSelector?.matchExpressions ?? []).map(({ key }) => key)];
  return keys.every((key) => key === NAME_LABEL);
}

/** With each peer that may be the receiver taken for it, and each port that only the receiver names for any. */
function widened(policy: JudgedPolicy, toPod: JudgedPod | undefined): JudgedPolicy {
  const port = (each: PolicyPortShape): PolicyPortShape => (typeof each.port === 'string' ? { protocol: each.protocol ?? 'TCP' } : each);
  const rule = ({ to = [], ports = [] }: EgressRuleShape): EgressRuleShape => ({
    to: to.flatMap((peer) => (isKnown(peer, toPod) ? [peer] : ANYWHERE)),
    ports: ports.map(port),
  });
  return { ...policy, egress: policy.egress.map(rule) };
}

const step = (outcome: ExplainStep['outcome'], message: string, by?: string): ExplainStep => ({
  ...{ layer: 'network-policy', outcome, ...(by === undefined ? {} : { by }) },
  message,
});

/**
 * What NetworkPolicies do with a packet that leaves the pod in clear. Undefined where none has a say. Never `stops` where something that is not known here
 * may let it: another pod's labels, a Service's pods, the pod's own node, a plugin that enforces nothing.
 */
export function clearStep(surroundings: ClearSurroundings): ExplainStep | undefined {
  const { policies, from, toPod, hidesPods = false, port, ranges, enforced } = surroundings;
  const to = parseAddress(surroundings.to);
  if (to === undefined || surroundings.protocol === 'icmp') return undefined;
  const protocol = surroundings.protocol === 'tcp' ? 'TCP' : 'UDP';
  const packet = { from, to, protocol, port, ...(toPod === undefined ? {} : { toPod }) } as const;
  const { verdict, by } = judgeNetworkPolicy(policies, packet);
  const mayBePod = ranges === undefined || isIn(ranges.pods, to);
  if (verdict === 'allowed') {
    // Whose the pod is, and whether there is one, would be told by the policy's name and by a verdict alike.
    if (hidesPods && toPod === undefined && mayBePod)
      return step('unknown', 'what NetworkPolicies of the receiver do with it cannot be told from here');
    return by === undefined ? undefined : step('leaves', 'this NetworkPolicy lets it out of the pod', by);
  }
  if (ranges !== undefined && isIn(ranges.services, to))
    return step('unknown', 'a NetworkPolicy judges the pod behind a Service: ask by that pod’s address', by);
  if (ranges !== undefined && isIn(ranges.nodes, to)) return step('unknown', 'no NetworkPolicy lets it, but a pod’s own node is always reached', by);
  const most = mayBePod
    ? judgeNetworkPolicy(
        policies.map((policy) => widened(policy, toPod)),
        packet,
      ).verdict
    : 'denied';
  if (most === 'allowed') return step('unknown', 'a NetworkPolicy may let it, by labels of the pod that has this address', by);
  return enforced
    ? step('stops', 'no NetworkPolicy of those that select the pod lets it', by)
    : step('unknown', 'no NetworkPolicy lets it; whether the network plugin enforces them, nobody has told (networkPolicyEnforced)', by);
}

const VERDICTS = { stops: 'denied', leaves: 'outside', unknown: 'unknown', passes: 'outside' } as const;

/** The answer about a packet that leaves the pod in clear, with what becomes of it there. */
export function withClearStep(answer: Omit<PacketExplanation, 'evidence'>, found: ExplainStep | undefined): Omit<PacketExplanation, 'evidence'> {
  if (found === undefined) return answer;
  const { by: _, ...rest } = answer;
  const { layer, by } = found;
  return { ...rest, verdict: VERDICTS[found.outcome], layer, ...(by === undefined ? {} : { by }), steps: [...answer.steps, found] };
}
