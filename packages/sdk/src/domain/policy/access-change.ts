import {
  type AccessChange,
  type CallerChange,
  type CallerWay,
  type Cidr,
  cidrsOverlap,
  type NetworkConfiguration,
  parseCidr,
} from '@bifrost/types/core';
import { excludeCidr } from 'cidr-tools';
import { compilePolicy, type Grant } from './compile-policy.ts';
import { type Reach, reachOf } from './reach.ts';

const minus = (all: readonly string[], some: readonly string[]): readonly string[] => (all.length === 0 ? [] : excludeCidr([...all], [...some]));

type Change = Omit<AccessChange, 'books' | 'ports'>;

/** What books gain and lose, whichever they are. */
export function accessChange(before: NetworkConfiguration, after: NetworkConfiguration): Change {
  const [from, to] = [reachOf(before), reachOf(after)];
  return {
    gained: minus(to.networks, from.networks),
    lost: minus(from.networks, to.networks),
    devices: from.devices === to.devices ? 'same' : to.devices ? 'gained' : 'lost',
  };
}

/** The ports of what is gained by one configuration, and lost by the other: what the compiler grants them with, whoever it is for. */
export function accessPorts({ gained, lost, devices }: Change, before: NetworkConfiguration, after: NetworkConfiguration): readonly string[] {
  const comes = portsOf(after, { networks: gained.length > 0, devices: devices === 'gained' });
  const goes = portsOf(before, { networks: lost.length > 0, devices: devices === 'lost' });
  return [...new Set([...comes, ...goes])].sort();
}

function portsOf(config: NetworkConfiguration, wanted: { readonly networks: boolean; readonly devices: boolean }): readonly string[] {
  const anyone = { sourceTags: ['tag:book'], routerTag: 'tag:router', config, books: [] };
  const { grants } = compilePolicy({ members: [anyone], shared: false });
  return grants.flatMap(({ dst, ip }) => (wanted[dst.every(isTag) ? 'devices' : 'networks'] ? ip : []));
}

const isTag = (name: string): boolean => name.startsWith('tag:');

/** Who comes to a book, or no longer does, between two compilations of what is granted on its account. */
export function callerChange(before: readonly Grant[], after: readonly Grant[]): CallerChange {
  const [from, to] = [waysOf(before), waysOf(after)];
  const missingIn = (all: Ways, others: Ways): readonly CallerWay[] => [...all].flatMap(([key, way]) => (others.has(key) ? [] : [way]));
  return { gained: missingIn(to, from), lost: missingIn(from, to) };
}

type Ways = ReadonlyMap<string, CallerWay>;

const waysOf = (grants: readonly Grant[]): Ways =>
  new Map(
    grants.flatMap(({ src, dst, ip, via }) =>
      src.flatMap((from) => dst.map((to) => [JSON.stringify([from, to, ip, via]), { from, to, ports: ip }] as const)),
    ),
  );

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
