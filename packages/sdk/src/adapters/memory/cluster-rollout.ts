import type { WorkloadKind } from '@bifrost/types/core';

/** A pod as the controller of its workload sees it. */
export interface RolloutPod {
  readonly uid: string;
  /** Which template it was made from. */
  readonly revision: string;
  readonly ready: boolean;
  readonly deleting: boolean;
  /** StatefulSet: its number; DaemonSet: its node; otherwise it counts up with each pod. */
  readonly ordinal: number;
  /** Set when it has run to its end. */
  readonly outcome?: 'Succeeded' | 'Failed' | undefined;
}

/** What is wanted of a workload's pods; replicas 0 when the workload is gone. */
export interface RolloutGoal {
  readonly kind: WorkloadKind;
  /** Of a Job: how many pods are to succeed, all at once. */
  readonly replicas: number;
  readonly revision: string;
  /** How many of a Job's pods may fail before it does. */
  readonly backoffLimit?: number;
  /** A Job that has come to its end. */
  readonly ended?: boolean;
}

export type RolloutStep =
  | { readonly kind: 'start'; readonly ordinal: number }
  | { readonly kind: 'stop'; readonly uid: string }
  | { readonly kind: 'end'; readonly as: 'Complete' | 'Failed' }
  | { readonly kind: 'wait' } // for a pod to be ready or gone
  | { readonly kind: 'settled' };

/** The next thing to do; asked again after it is done or after a pod has changed. */
export function nextRolloutStep(goal: RolloutGoal, pods: readonly RolloutPod[]): RolloutStep {
  switch (goal.kind) {
    case 'StatefulSet':
      return statefulStep(goal, pods);
    case 'DaemonSet':
      return daemonStep(goal, pods);
    case 'Job':
      return jobStep(goal, pods);
    case 'Deployment':
      return deploymentStep(goal, pods);
    case 'CronJob':
      return { kind: 'settled' }; // its Jobs have the pods
  }
}

const nextOrdinal = (pods: readonly RolloutPod[]): number => 1 + Math.max(0, ...pods.map(({ ordinal }) => ordinal));

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
  if (current.length < replicas && live.length < room) return { kind: 'start', ordinal: nextOrdinal(pods) };
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

/** One on each node; an update takes one away at a time, and on its node the next comes only when it is gone. */
function daemonStep({ replicas: nodes, revision }: RolloutGoal, pods: readonly RolloutPod[]): RolloutStep {
  const surplus = pods.find(({ ordinal, deleting }) => ordinal >= nodes && !deleting);
  if (surplus !== undefined) return { kind: 'stop', uid: surplus.uid };
  for (let ordinal = 0; ordinal < nodes; ordinal += 1) {
    if (!pods.some((pod) => pod.ordinal === ordinal)) return { kind: 'start', ordinal };
  }
  const old = pods.filter((pod) => pod.revision !== revision && !pod.deleting);
  const next = old.find(({ ready }) => !ready) ?? old[0];
  const isQuiet = pods.every(({ ready, deleting }) => ready && !deleting);
  if (next !== undefined && (isQuiet || !next.ready)) return { kind: 'stop', uid: next.uid };
  return isQuiet ? { kind: 'settled' } : { kind: 'wait' };
}

/** Pods that fail are followed by others until too many have; an ended Job keeps its pods, and those that still run are stopped. */
function jobStep({ replicas, backoffLimit = 0, ended = false }: RolloutGoal, pods: readonly RolloutPod[]): RolloutStep {
  const count = (outcome: RolloutPod['outcome']): number => pods.filter((pod) => pod.outcome === outcome).length;
  const running = pods.filter((pod) => pod.outcome === undefined && !pod.deleting);
  if (ended) return running[0] === undefined ? { kind: 'settled' } : { kind: 'stop', uid: running[0].uid };
  if (count('Failed') > backoffLimit) return { kind: 'end', as: 'Failed' };
  if (replicas > 0 && count('Succeeded') >= replicas) return { kind: 'end', as: 'Complete' };
  if (running.length + count('Succeeded') < replicas) return { kind: 'start', ordinal: nextOrdinal(pods) };
  return running.every(({ ready }) => ready) ? { kind: 'settled' } : { kind: 'wait' };
}
