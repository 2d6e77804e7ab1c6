import { createHash } from 'node:crypto';
import type { NetworkConfiguration } from '@bifrost/types/core';
import type { SidecarFragment } from '../domain/pod-shape.ts';

/** Tells whether two configurations lead to the same guard: whatever differs needs new pods to hold. */
export function networkHash({ allowedNetworks, blockedNetworks, accessPolicy }: NetworkConfiguration): string {
  const parts = [[...allowedNetworks].sort(), [...blockedNetworks].sort(), accessPolicy];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}

export const policyHash = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Tells one fragment from another, whatever the order of its members. */
export const fragmentHash = (fragment: SidecarFragment): string =>
  createHash('sha256')
    .update(JSON.stringify(sorted(fragment)))
    .digest('hex')
    .slice(0, 16);

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, sorted(member)]),
  );
}
