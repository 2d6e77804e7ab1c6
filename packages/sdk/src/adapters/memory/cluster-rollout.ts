import type { WorkloadKind } from '@bifrost/types/core';

/** A pod as the controller of its workload sees it. */
export interface RolloutPod {
  readonly uid: string;
  /** Which template it was made from. */
  readonly revision: string;
  readonly ready: boolean;
  readonly deleting: boolean;
  /** StatefulSet: its number; Deployment: counts up with each pod. */
  readonly ordinal: number;
}

/** What is wanted of a workload's pods; replicas 0 when the workload is gone. */
export interface RolloutGoal {
  readonly kind: WorkloadKind;
  readonly replicas: number;
  readonly revision: string;
}

export type RolloutStep =
  | { readonly kind: 'start'; readonly ordinal: number }
  | { readonly kind: 'stop'; readonly uid: string }
  | { readonly kind: 'wait' } // for a pod to be ready or gone
  | { readonly kind: 'settled' };

/** The next thing to do; asked again after it is done or after a pod has changed. */
export function nextRolloutStep(goal: RolloutGoal, pods: readonly RolloutPod[]): RolloutStep {
  return goal.kind === 'Deployment' ? deploymentStep(goal, pods) : statefulStep(goal, pods);
}

/** New pods first, one more than wanted at most; an old one stops when as many as wanted are ready without it. */
function deploymentStep({ replicas, revision }: RolloutGoal, pods: readonly RolloutPod[]): RolloutStep {
  const live = pods.filter(({ deleting }) => !deleting).toSorted((one, other) => one.ordinal - other.ordinal);
  const current = live.filter((pod) => pod.revision === revision);
  const old = live.filter((pod) => pod.revision !== revision);
  const surplus = current.length > replicas ? current.at(-1) : undefined;
  if (surplus !== undefined) return { kind: 'stop', uid: surplus.uid };
  const spare = old.find(({ ready }) => !ready) ?? (live.filter(({ ready }) => ready).length > replicas ? old[0] : undefined);
  if (spare !== undefined && (replicas === 0 || current.length > 0)) return { kind: 'stop', uid: spare.uid };
  if (replicas === 0 && old[0] !== undefined) return { kind: 'stop', uid: old[0].uid };
  const room = old.length === 0 ? replicas : replicas + 1;
  if (current.length < replicas && live.length < room) return { kind: 'start', ordinal: 1 + Math.max(0, ...pods.map(({ ordinal }) => ordinal)) };
  return old.length === 0 && pods.length === replicas && current.every(({ ready }) => ready) ? { kind: 'settled' } : { kind: 'wait' };
}

/** One at a time, in order: up from 0, down and through an update from the highest; a name is free again when its pod is gone. */
function statefulStep({ replicas, revision }: RolloutGoal, pods: readonly RolloutPod[]): RolloutStep {
  if (pods.some(({ deleting }) => deleting)) return { kind: 'wait' };
  const surplus = pods.filter(({ ordinal }) => ordinal >= replicas).toSorted((one, other) => other.ordinal - one.ordinal)[0];
  if (surplus !== undefined) return { kind: 'stop', uid: surplus.uid };
  const broken = pods.find((pod) => !pod.ready && pod.revision !== revision);
  if (broken !== undefined) return { kind: 'stop', uid: broken.uid };
  if (pods.some(({ ready }) => !ready)) return { kind: 'wait' };
  for (let ordinal = 0; ordinal < replicas; ordinal += 1) {
    if (!pods.some((pod) => pod.ordinal === ordinal)) return { kind: 'start', ordinal };
  }
  const old = pods.filter((pod) => pod.revision !== revision).toSorted((one, other) => other.ordinal - one.ordinal)[0];
  return old === undefined ? { kind: 'settled' } : { kind: 'stop', uid: old.uid };
}
