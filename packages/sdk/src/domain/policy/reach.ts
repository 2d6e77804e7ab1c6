import type { NetworkConfiguration } from '@bifrost/types/core';
import { excludeCidr, mergeCidr } from 'cidr-tools';
import { TAILNET_NETWORKS } from '../guard.ts';

const EVERYWHERE = ['0.0.0.0/0', '::/0'] as const;

/** What an intent grants. */
export interface Reach {
  /** Ranges behind routers: no two overlap, sorted. */
  readonly networks: readonly string[];
  /** The devices of the tailnet themselves. They are granted by tag: by address, in a tailnet of several customers, another's would be among them. */
  readonly devices: boolean;
}

/**
 * Blocked wins over allowed, by taking it out: a tailnet's policy knows no "deny".
 *
 * - `restrictive`: allowed minus blocked, nothing else.
 * - `standard`: and the tailnet's own devices.
 * - `permissive`: everything minus blocked, and the tailnet's own devices.
 */
export function reachOf({ allowedNetworks, blockedNetworks, accessPolicy }: NetworkConfiguration): Reach {
  const from = accessPolicy === 'permissive' ? EVERYWHERE : allowedNetworks;
  const networks = from.length === 0 ? [] : excludeCidr(mergeCidr([...from]), [...blockedNetworks, ...TAILNET_NETWORKS]);
  const isEveryDeviceBlocked = excludeCidr([...TAILNET_NETWORKS], [...blockedNetworks]).length === 0;
  return { networks, devices: accessPolicy !== 'restrictive' && !isEveryDeviceBlocked };
}
