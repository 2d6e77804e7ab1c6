import { cidrsOverlap, parseCidr, type SidecarStatus } from '@bifrost/types/core';
import { statusOfInstances } from './connectivity.ts';
import type { InstanceState, Reason } from './model.ts';

/** A key on record: newest last. */
interface RecordedKey {
  readonly keyId: string;
  readonly expiresAtMs: number;
}

export interface KeyPlanInput {
  readonly keys: readonly RecordedKey[];
  /** Whether the attachment's Secret holds a key, and the CA as it is now. */
  readonly secretHoldsKey: boolean;
  readonly secretHoldsAuthority: boolean;
  readonly nowMs: number;
  readonly lifetimeMs: number;
  /** Pods that started just before a rotation may still read the old key from their volume. */
  readonly graceMs: number;
}

/** `mint`: a new key, since there is none, or two thirds of its life are over, or its value is lost. `rewrite`: the Secret alone. `retire`: keys whose successor is old enough. */
export type KeyPlan =
  | { readonly kind: 'mint' }
  | { readonly kind: 'rewrite' }
  | { readonly kind: 'retire'; readonly keyIds: readonly string[] }
  | { readonly kind: 'keep' };

export function planKey({ keys, secretHoldsKey, secretHoldsAuthority, nowMs, lifetimeMs, graceMs }: KeyPlanInput): KeyPlan {
  const current = keys.at(-1);
  if (current === undefined || !secretHoldsKey || current.expiresAtMs - nowMs <= lifetimeMs / 3) return { kind: 'mint' };
  if (!secretHoldsAuthority) return { kind: 'rewrite' };
  const graceOver = nowMs - (current.expiresAtMs - lifetimeMs) >= graceMs;
  // An expired key needs no grace: short-lived keys would pile up, since a newer one always comes before the grace is over.
  const old = keys.slice(0, -1).filter(({ expiresAtMs }) => graceOver || expiresAtMs <= nowMs);
  return old.length > 0 ? { kind: 'retire', keyIds: old.map(({ keyId }) => keyId) } : { kind: 'keep' };
}

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
