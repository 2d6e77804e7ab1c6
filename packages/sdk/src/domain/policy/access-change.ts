import { type AccessChange, type Cidr, cidrsOverlap, type NetworkConfiguration, parseCidr } from '@bifrost/types/core';
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

type Loss = 'all' | 'some' | 'nothing';
interface Reaches {
  readonly before: Reach;
  readonly after: Reach;
}

/** How much of what lies behind a peer with these routes is lost: all that could be reached, some of it, or nothing. For many peers: what is lost is told once. */
export function lossesOf({ before, after }: Reaches): (routes: readonly string[]) => Loss {
  const [lost, left] = [parsed(minus(before.networks, after.networks)), parsed(after.networks)];
  const isDevicesLost = before.devices && !after.devices;
  return (routes) => {
    const carried = parsed(routes);
    const overlaps = (networks: readonly Cidr[]): boolean => networks.some((network) => carried.some((route) => cidrsOverlap(network, route)));
    if (!isDevicesLost && !overlaps(lost)) return 'nothing';
    return after.devices || overlaps(left) ? 'some' : 'all';
  };
}

export const lossOf = (routes: readonly string[], reaches: Reaches): Loss => lossesOf(reaches)(routes);

const parsed = (networks: readonly string[]): readonly Cidr[] => networks.flatMap((network) => parseCidr(network) ?? []);
