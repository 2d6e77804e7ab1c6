import { createHash } from 'node:crypto';
import { ACCESS_POLICIES, type GuardOrder, type NetworkConfiguration } from '@bifrost/types/core';
import { hasLiveGuard } from '../domain/live-guard.ts';
import type { SidecarSpec } from '../domain/model.ts';
import type { SidecarFragment } from '../domain/pod-shape.ts';

/** Tells whether two configurations lead to the same sidecar: its guard, or in userspace mode its NO_PROXY and the egress that was judged for it. */
export function networkHash({ allowedNetworks, blockedNetworks, accessPolicy }: Omit<GuardOrder, 'hash'>): string {
  const parts = [[...allowedNetworks].sort(), [...blockedNetworks].sort(), accessPolicy];
  return sha256(JSON.stringify(parts)).slice(0, 16);
}

/**
 * Whether a sidecar that was rendered for the configuration of hash `renderedFor` comes to hold `config` without new pods: a live guard is told by its agent.
 * Userspace mode knows no access policy.
 */
export function holdsFor(
  { networkMode, fragment }: Pick<SidecarSpec, 'networkMode' | 'fragment'>,
  renderedFor: string,
  config: NetworkConfiguration,
): boolean {
  if (networkMode !== 'userspace' && hasLiveGuard(fragment)) return true;
  const policies = networkMode === 'userspace' ? ACCESS_POLICIES : [config.accessPolicy];
  return policies.some((accessPolicy) => renderedFor === networkHash({ ...config, accessPolicy }));
}

export const policyHash = (text: string): string => sha256(text);

/** Tells texts apart for certain. */
export const digest = (text: string): string => sha256(text);

/** Tells one configuration of a sidecar from another, whatever the order of its members. */
export const configHash = (config: SidecarSpec['config']): string => sha256(JSON.stringify(sorted(config)));

/** Tells one wish from another, whatever the order of its members. */
export const wishHash = (wish: object): string => sha256(JSON.stringify(sorted(wish))).slice(0, 32);

/** Tells one fragment from another, whatever the order of its members. */
export const fragmentHash = (fragment: SidecarFragment): string => sha256(JSON.stringify(sorted(fragment))).slice(0, 16);

/** Hexadecimal. */
export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, sorted(member)]),
  );
}
