import { createHash } from 'node:crypto';
import type { NetworkConfiguration } from '@bifrost/types/core';

/** Tells whether two configurations lead to the same guard: whatever differs needs new pods to hold. */
export function networkHash({ allowedNetworks, blockedNetworks, accessPolicy }: NetworkConfiguration): string {
  const parts = [[...allowedNetworks].sort(), [...blockedNetworks].sort(), accessPolicy];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}

export const policyHash = (text: string): string => createHash('sha256').update(text).digest('hex');
