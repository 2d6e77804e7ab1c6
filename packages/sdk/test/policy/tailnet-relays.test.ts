import { describe, expect, it } from 'vitest';
import type { Relay } from '../../src/domain/policy/relays.ts';
import { tailnetRelays } from '../../src/domain/policy/tailnet-relays.ts';

const relay = (regionId: number, host: string): Relay => ({
  regionId,
  region: `r${regionId}`,
  regionName: `R${regionId}`,
  host,
  addresses: [],
  port: 443,
  stunPort: 3478,
});
const published = [relay(1, 'one.example'), relay(2, 'two.example')];
const hosts = (policy: string | undefined) => tailnetRelays(published, policy).map(({ host }) => host);
const own = `"900": { "RegionID": 900, "RegionCode": "own", "RegionName": "Own", "Nodes": [
  { "Name": "a", "RegionID": 900, "HostName": "own.example", "IPv4": "192.0.2.9", "IPv6": "none", "DERPPort": 8443, "STUNPort": -1 }, // ours
] },`;

describe('the relays of one tailnet', () => {
  it.each<[string, string | undefined, readonly string[]]>([
    ['nothing known of its policy', undefined, ['one.example', 'two.example']],
    ['a policy without a map', '{}', ['one.example', 'two.example']],
    ['a region more', `{ "derpMap": { "Regions": { ${own} } } }`, ['one.example', 'two.example', 'own.example']],
    ['only its own', `{ "derpMap": { "OmitDefaultRegions": true, "Regions": { ${own} } } }`, ['own.example']],
    ['in another case', `{ "DERPMAP": { "omitDefaultRegions": true, "regions": { ${own} } } }`, ['own.example']],
    ['a region less', '{ "derpMap": { "Regions": { "1": null } } }', ['two.example']],
    ['a region in another’s place', `{ "derpMap": { "Regions": { ${own.replaceAll('900', '2')} } } }`, ['one.example', 'own.example']],
    [
      'what is no region',
      '{ "derpMap": { "Regions": { "x": null, "3": 5, "4": { "Nodes": [null, { "HostName": "a b" }] } } } }',
      ['one.example', 'two.example'],
    ],
    ['what is no policy', '{ "derpMap": ', ['one.example', 'two.example']],
    ['a list', '[]', ['one.example', 'two.example']],
  ])('%s', (_, policy, expected) => expect(hosts(policy)).toEqual(expected));

  it('have what the policy says of them', () => {
    expect(tailnetRelays([], `{ "derpMap": { "Regions": { ${own} } } }`)).toEqual([
      ...[{ region: 'own', regionName: 'Own', regionId: 900, host: 'own.example', addresses: ['192.0.2.9'], port: 8443, stunPort: undefined }],
    ]);
    const bare = '{ "derpMap": { "Regions": { "901": { "Nodes": [{ "HostName": "b.example", "DERPPort": 70000 }] } } } }';
    expect(tailnetRelays([], bare)).toMatchObject([{ region: '901', regionName: '901', port: 443, stunPort: 3478 }]);
  });
});
