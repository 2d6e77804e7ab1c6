import { cidrsOverlap, parseCidr, type SidecarStatus, type TailnetStatus } from '@bifrost/types/core';
import { carriesNothing } from './carries.ts';
import { unsupportedForm } from './check-template.ts';
import { statusOfInstances } from './connectivity.ts';
import type { InstanceState, Reason, RecordedKey, Repair, SidecarSpec, Trial } from './model.ts';
import type { PodTemplateShape } from './pod-shape.ts';

/** Whether sidecars are kept in it: what a degraded one lacks holds up nothing but what needs it. */
export const isUsable = (phase: TailnetStatus): boolean => phase === 'active' || phase === 'degraded';

export interface KeyPlanInput {
  /** Newest last. */
  readonly keys: readonly RecordedKey[];
  /** Whether the attachment's Secret holds a key, and the CA as it is now. */
  readonly secretHoldsKey: boolean;
  readonly secretHoldsAuthority: boolean;
  /** What joins is to carry, where that is more than the tags of all books. */
  readonly tags?: readonly string[] | undefined;
  readonly nowMs: number;
  readonly lifetimeMs: number;
  /** Pods that started just before a rotation may still read the old key from their volume. */
  readonly graceMs: number;
}

/** `mint`: a new key, since there is none, or it has other tags, or two thirds of its life are over, or its value is lost. `rewrite`: the Secret alone. `retire`: keys whose successor is old enough. */
export type KeyPlan =
  | { readonly kind: 'mint' }
  | { readonly kind: 'rewrite' }
  | { readonly kind: 'retire'; readonly keyIds: readonly string[] }
  | { readonly kind: 'keep' };

export function planKey({ keys, secretHoldsKey, secretHoldsAuthority, tags, nowMs, lifetimeMs, graceMs }: KeyPlanInput): KeyPlan {
  const current = keys.at(-1);
  if (current === undefined || !secretHoldsKey || current.expiresAtMs - nowMs <= lifetimeMs / 3 || !hasTags(current, tags)) return { kind: 'mint' };
  if (!secretHoldsAuthority) return { kind: 'rewrite' };
  const graceOver = nowMs - (current.expiresAtMs - lifetimeMs) >= graceMs;
  // An expired key needs no grace: short-lived keys would pile up, since a newer one always comes before the grace is over.
  const old = keys.slice(0, -1).filter(({ expiresAtMs }) => graceOver || expiresAtMs <= nowMs);
  return old.length > 0 ? { kind: 'retire', keyIds: old.map(({ keyId }) => keyId) } : { kind: 'keep' };
}

/** Whether what joins with that key is told as it is to be. */
export const hasTags = ({ tags = [] }: RecordedKey, wanted: readonly string[] = []): boolean => [...tags].sort().join() === [...wanted].sort().join();

/** Instances whose pod is not there any more, one per pod. */
export function planRelease<Known extends { readonly podUid: string }>(
  known: readonly Known[],
  presentPodUids: ReadonlySet<string>,
): readonly Known[] {
  return [...new Map(known.filter(({ podUid }) => !presentPodUids.has(podUid)).map((instance) => [instance.podUid, instance])).values()];
}

interface Router {
  readonly deviceId: string;
  readonly advertisedRoutes: readonly string[];
  readonly enabledRoutes: readonly string[];
}
export interface RoutePlan {
  readonly approvals: readonly { readonly deviceId: string; readonly routes: readonly string[] }[];
  readonly refused: readonly string[];
}

const overlapsAny = (route: string, networks: readonly string[]): boolean => {
  const range = parseCidr(route);
  return networks.some((network) => {
    const other = parseCidr(network);
    return range !== undefined && other !== undefined && cidrsOverlap(range, other);
  });
};

/**
 * Which offered routes are approved: none that overlaps an allowed network or another router's route, because it would draw the customer's own
 * traffic into the book.
 */
export function planRoutes({
  wanted,
  allowedNetworks,
  ours,
  otherRoutes,
}: {
  readonly wanted: readonly string[];
  readonly allowedNetworks: readonly string[];
  readonly ours: readonly Router[];
  readonly otherRoutes: readonly string[];
}): RoutePlan {
  const refused = wanted.filter((route) => overlapsAny(route, [...allowedNetworks, ...otherRoutes]));
  const approvals = ours.flatMap(({ deviceId, advertisedRoutes, enabledRoutes }) => {
    const routes = wanted.filter((route) => !refused.includes(route) && advertisedRoutes.includes(route)).sort();
    return routes.join() === [...enabledRoutes].sort().join() ? [] : [{ deviceId, routes }];
  });
  return { approvals, refused };
}

/**
 * A sidecar's phase: its instances' best, or failed once a pod has waited past the deadline. A workload without pods may wait for as long as it likes.
 * `recheckMs`: when the deadline will be reached.
 */
export function planPhase(
  instances: readonly InstanceState[],
  { nowMs, deadlineMs }: { readonly nowMs: number; readonly deadlineMs: number },
): { readonly phase: SidecarStatus; readonly reason?: Reason; readonly recheckMs?: number } {
  const phase = statusOfInstances(instances.map(({ status }) => status));
  if (phase !== 'attaching' || instances.length === 0) return { phase };
  const oldestMs = Math.min(...instances.map(({ sinceMs }) => sinceMs));
  if (nowMs - oldestMs < deadlineMs) return { phase, recheckMs: oldestMs + deadlineMs - nowMs };
  const cause = instances.find((instance) => instance.cause !== undefined)?.cause;
  return {
    phase: 'failed',
    reason: { code: 'ATTACH_TIMEOUT', message: `No pod connected before the deadline${cause === undefined ? '' : `; cause: ${cause}`}.` },
  };
}

/** `leave`: this manager's last drift was put right within the window already; `againMs` is when the window ends. */
export type RepairPlan = { readonly kind: 'repair'; readonly repairs: readonly Repair[] } | { readonly kind: 'leave'; readonly againMs: number };

const MOST_REPAIRS = 16;

/** Once per cause: a field manager that changes what was put right is not fought. */
export function planRepair(
  repairs: readonly Repair[],
  { manager, nowMs, windowMs }: { readonly manager: string; readonly nowMs: number; readonly windowMs: number },
): RepairPlan {
  const recent = repairs.filter(({ atMs }) => nowMs - atMs < windowMs);
  const before = recent.find((repair) => repair.manager === manager);
  if (before !== undefined) return { kind: 'leave', againMs: before.atMs + windowMs - nowMs };
  return { kind: 'repair', repairs: [...recent, { manager, atMs: nowMs }].slice(-MOST_REPAIRS) };
}

/**
 * `fine`: the pod may have its sidecar. Its owner has changed it since the attach otherwise: then nothing is put in or put right. `tell`: no more than that,
 * since its creator owns what is in it, or since a book without its sidecar would send in clear. `takeOut`: the sidecar must not run in the node's
 * network; `isOut` when it is not in any more.
 */
export type FormPlan =
  | { readonly kind: 'fine' }
  | { readonly kind: 'tell'; readonly reason: Reason }
  | { readonly kind: 'takeOut'; readonly reason: Reason; readonly isOut: boolean };

export function planForm(template: PodTemplateShape, { mode, fragment }: Pick<SidecarSpec, 'mode' | 'fragment'>): FormPlan {
  const refusal = unsupportedForm(template);
  if (refusal === undefined) return { kind: 'fine' };
  const path = refusal.issues?.[0]?.path;
  const reason: Reason = { code: refusal.code, message: refusal.message, ...(path === undefined ? {} : { path }) };
  if (mode === 'inject' || template.spec.hostNetwork !== true) return { kind: 'tell', reason };
  return { kind: 'takeOut', reason, isOut: carriesNothing(template, fragment) };
}

export interface TrialInput {
  readonly trial: Trial;
  /** Pods that the workload wants. */
  readonly wanted: number;
  /** The workload's pods that are not on their way out: whether each runs the new fragment, and whether it is connected. */
  readonly pods: readonly { readonly isNew: boolean; readonly connected: boolean }[];
  readonly nowMs: number;
}

/** `prove`: it stays. `revert`: its predecessor comes back. `keep`: time is up, but it did not work before either, so the change is not to blame. */
export type TrialPlan = { readonly kind: 'prove' | 'revert' | 'keep' } | { readonly kind: 'wait'; readonly recheckMs: number };

export function planTrial({ trial, wanted, pods, nowMs }: TrialInput): TrialPlan {
  const working = pods.filter(({ isNew, connected }) => isNew && connected).length;
  if (working >= wanted && pods.every(({ isNew }) => isNew)) return { kind: 'prove' };
  if (nowMs < trial.deadlineMs) return { kind: 'wait', recheckMs: trial.deadlineMs - nowMs };
  return { kind: trial.wasHealthy ? 'revert' : 'keep' };
}

/**
 * How long an attachment has waited for its first connection, with pods wanted. Time without pods does not count: a workload may be scaled to nothing
 * for as long as its owner likes.
 */
export function planWaiting(
  sinceMs: number | undefined,
  { wanted, nowMs, deadlineMs }: { readonly wanted: number; readonly nowMs: number; readonly deadlineMs: number },
): { readonly sinceMs?: number; readonly isOver: boolean; readonly recheckMs?: number } {
  if (wanted === 0) return { isOver: false };
  const from = sinceMs ?? nowMs;
  const leftMs = from + deadlineMs - nowMs;
  return leftMs > 0 ? { sinceMs: from, isOver: false, recheckMs: leftMs } : { sinceMs: from, isOver: true };
}
