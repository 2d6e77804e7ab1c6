import { type Cidr, cidrContains, formatCidr, type NetworkConfiguration, type NetworkMode, parseCidr } from '@bifrost/types/core';
import { TAILNET_NETWORKS } from '../guard.ts';

/** Not of the Internet: where private networks, and the cloud's metadata service (169.254.169.254, fd00:ec2::254), have their addresses. */
const LOCAL = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16', 'fc00::/7', 'fe80::/10'].flatMap((text) => parseCidr(text) ?? []);

/**
 * To which networks outside of the cluster a NetworkPolicy is to let nothing go in clear. Userspace mode: allowed and blocked networks and the tailnets'
 * own, since no guard is there. Kernel mode: of the blocked ones what is no Internet address, beside the guard, which has them all; a relay or peer
 * in a blocked part of the Internet is still reached, as the guard has it too.
 */
export function withheldNetworks(
  { allowedNetworks, blockedNetworks }: Pick<NetworkConfiguration, 'allowedNetworks' | 'blockedNetworks'>,
  networkMode: NetworkMode,
): readonly string[] {
  if (networkMode === 'userspace') return [...new Set([...allowedNetworks, ...blockedNetworks, ...TAILNET_NETWORKS])].sort();
  const blocked = blockedNetworks.flatMap((text) => parseCidr(text) ?? []);
  return [...new Set(blocked.flatMap((one) => LOCAL.flatMap((local) => common(one, local))).map(formatCidr))].sort();
}

/** Of two ranges that overlap one contains the other. */
function common(one: Cidr, other: Cidr): readonly Cidr[] {
  if (one.family !== other.family) return [];
  if (cidrContains(one, other)) return [other];
  return cidrContains(other, one) ? [one] : [];
}
