import { parse } from 'jsonc-parser';
import { type Relay, type RelayNode, type RelayRegion, relayOf } from './relays.ts';

type Members = ReadonlyMap<string, unknown>;

/** As Go reads them: in whatever case. */
const membersOf = (value: unknown): Members =>
  new Map(
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.entries(value).map(([name, member]) => [name.toLowerCase(), member])
      : [],
  );

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
const portOf = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isInteger(value) && value >= -1 && value <= 65_535 ? value : undefined;

function nodeOf(value: unknown): RelayNode | undefined {
  const members = membersOf(value);
  const HostName = textOf(members.get('hostname'));
  if (!/^[\w.:-]{1,253}$/.test(HostName)) return undefined;
  return {
    ...{ HostName, IPv4: textOf(members.get('ipv4')), IPv6: textOf(members.get('ipv6')) },
    ...{ STUNPort: portOf(members.get('stunport')), DERPPort: portOf(members.get('derpport')), STUNOnly: members.get('stunonly') === true },
  };
}

function relaysOf(number: string, value: unknown): readonly Relay[] {
  const members = membersOf(value);
  const code = textOf(members.get('regioncode')).slice(0, 100) || number;
  const region: RelayRegion = { region: code, regionName: textOf(members.get('regionname')).slice(0, 200) || code, regionId: Number(number) };
  const nodes = members.get('nodes');
  return (Array.isArray(nodes) ? nodes : []).flatMap((node) => {
    const known = nodeOf(node);
    return known === undefined ? [] : [relayOf(region, known)];
  });
}

/**
 * The relays of one tailnet: the published ones, changed by the `derpMap` of its own policy. That adds regions, replaces one by its number, takes one away
 * (`null`), or all that are published (`omitDefaultRegions`).
 */
export function tailnetRelays(published: readonly Relay[], policyText: string | undefined): readonly Relay[] {
  const map = membersOf(membersOf(policyText === undefined ? undefined : parse(policyText, [], { allowTrailingComma: true })).get('derpmap'));
  const regions = new Map(Object.entries(map.get('regions') ?? {}).filter(([number]) => /^\d{1,9}$/.test(number)));
  const stays = ({ regionId }: Relay): boolean =>
    map.get('omitdefaultregions') !== true && !(regionId !== undefined && regions.has(String(regionId)));
  return [...published.filter(stays), ...[...regions].flatMap(([number, region]) => relaysOf(number, region))];
}
