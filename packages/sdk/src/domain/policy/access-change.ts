import { type AccessChange, cidrsOverlap, type NetworkConfiguration, parseCidr } from '@bifrost/types/core';
import { excludeCidr } from 'cidr-tools';
import { type Reach, reachOf } from './reach.ts';

const minus = (all: readonly string[], some: readonly string[]): readonly string[] => (all.length === 0 ? [] : excludeCidr([...all], [...some]));

/** What books gain and lose, whichever they are. */
export function accessChange(before: NetworkConfiguration, after: NetworkConfiguration): Omit<AccessChange, 'books'> {
  const [from, to] = [reachOf(before), reachOf(after)];
  return {
    gained: minus(to.networks, from.networks),
    lost: minus(from.networks, to.networks),
    devices: from.devices === to.devices ? 'same' : to.devices ? 'gained' : 'lost',
  };
}

/** How much of what lies behind a peer is lost: all that could be reached, some of it, or nothing. */
export function lossOf(routes: readonly string[], { before, after }: { readonly before: Reach; readonly after: Reach }): 'all' | 'some' | 'nothing' {
  const overlaps = (networks: readonly string[]): boolean => networks.some((network) => routes.some((route) => areOverlapping(network, route)));
  const isLost = overlaps(minus(before.networks, after.networks)) || (before.devices && !after.devices);
  if (!isLost) return 'nothing';
  return overlaps(after.networks) || after.devices ? 'some' : 'all';
}

function areOverlapping(one: string, other: string): boolean {
  const [a, b] = [parseCidr(one), parseCidr(other)];
  return a !== undefined && b !== undefined && cidrsOverlap(a, b);
}
