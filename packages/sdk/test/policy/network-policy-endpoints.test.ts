import { cidrContains, type IpAddress, parseAddress, parseCidr } from '@bifrost/types/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clearEgress } from '../../src/domain/clear-egress.ts';
import { TAILNET_NETWORKS } from '../../src/domain/guard.ts';
import { judgeNetworkPolicy } from '../../src/domain/policy/judge-network-policy.ts';
import { CLUSTER_DNS, networkPoliciesOf, shapeOf } from '../../src/domain/policy/network-policies.ts';
import {
  controlEndpoints,
  dnsEndpoints,
  RELAYS_OUTSIDE,
  relayEndpoints,
  serviceOfUrl,
  urlEndpoints,
} from '../../src/domain/policy/network-policy-endpoints.ts';
import { withheldNetworks } from '../../src/domain/policy/withheld-networks.ts';

const outside = [{ kind: 'outside' }];
const tcp = (port: number | string) => [{ protocol: 'tcp', port }];
const pods = (namespace: string, podLabels: object) => [{ kind: 'pods', namespaceLabels: { 'kubernetes.io/metadata.name': namespace }, podLabels }];
const service = { addresses: ['10.96.0.9'], selector: { app: 'manager' }, ports: [{ protocol: 'tcp' as const, port: 443, targetPort: 'reports' }] };

describe('where things answer', () => {
  it.each([
    ['https://bifrost.system.svc/v1/reports', undefined, [{ at: pods('system', {}), ports: tcp(443) }]],
    [
      'https://bifrost.system.svc.cluster.local:8443/v1/reports',
      service,
      [
        { at: pods('system', { app: 'manager' }), ports: tcp('reports') },
        { at: [{ kind: 'networks', networks: ['10.96.0.9'] }], ports: [{ protocol: 'tcp', port: 443 }] },
      ],
    ],
    ['https://bifrost.system.svc', { ...service, addresses: [], selector: {} }, [{ at: pods('system', {}), ports: tcp(443) }]],
    ['https://203.0.113.9:8443/', undefined, [{ at: [{ kind: 'networks', networks: ['203.0.113.9'] }], ports: tcp(8443) }]],
    ['https://[2001:db8::9]/', undefined, [{ at: [{ kind: 'networks', networks: ['2001:db8::9'] }], ports: tcp(443) }]],
    ['http://127.0.0.1:8080', undefined, []],
    ['http://[::1]:8080', undefined, []],
    ['https://reports.example.com', undefined, [{ at: outside, ports: tcp(443) }]],
    ['https://a.b.svc.example.com', undefined, [{ at: pods('b', {}), ports: tcp(443) }]],
    ['https://a.b.svcs.example.com', undefined, [{ at: outside, ports: tcp(443) }]],
  ])('%s', (url, known, expected) => {
    expect(urlEndpoints(url, known)).toMatchObject(expected);
    expect(urlEndpoints(url, known)).toHaveLength(expected.length);
  });

  it('names a Service only by its whole name', () => {
    expect(serviceOfUrl('https://a.b.svc:1/')).toEqual({ namespace: 'b', name: 'a' });
    for (const url of ['https://a.b', 'https://svc/', 'https://a.svc/', 'https://x.a.b.svc/']) expect(serviceOfUrl(url)).toBeUndefined();
  });

  it('DNS, control server and relays fall back to what is usual', () => {
    expect(dnsEndpoints(undefined)).toEqual([CLUSTER_DNS]);
    expect(dnsEndpoints({ addresses: [], selector: {}, ports: [] })).toEqual([CLUSTER_DNS]);
    expect(controlEndpoints(undefined)).toMatchObject([{ at: outside, ports: tcp(443) }]);
    expect(controlEndpoints('http://192.0.2.1:9911')).toMatchObject([{ at: [{ networks: ['192.0.2.1'] }], ports: tcp(9911) }]);
    expect(relayEndpoints([])).toBe(RELAYS_OUTSIDE);
    const named = { region: 'r', regionName: 'R', host: 'h', addresses: [], port: undefined, stunPort: 3478 };
    expect(relayEndpoints([named])).toEqual([{ at: outside, ports: [{ protocol: 'udp', port: 3478 }] }]);
  });
});

describe('networks to which nothing goes in clear', () => {
  it.each([
    [['169.254.169.254/32'], ['169.254.169.254/32']],
    [['10.9.0.0/16', '8.8.8.0/24'], ['10.9.0.0/16']],
    [['0.0.0.0/0'], ['10.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.168.0.0/16']],
    [['fd00:ec2::254/128', '2001:db8::/32'], ['fd00:ec2::254/128']],
    [[], []],
  ])('in kernel mode, of %j blocked: %j', (blockedNetworks, expected) => {
    expect(withheldNetworks({ allowedNetworks: ['10.0.0.0/8'], blockedNetworks }, 'kernel')).toEqual(expected);
  });

  const ranges = { pods: ['10.244.0.0/16'], services: ['10.96.0.0/12'], nodes: ['192.0.2.1/32'] };
  const range = fc
    .tuple(fc.integer({ min: 1, max: 223 }), fc.integer({ min: 0, max: 255 }), fc.integer({ min: 8, max: 32 }))
    .map(([a, b, length]) => (length > 16 ? `${a}.${b}.0.0/16` : `${a}.0.0.0/${length < 9 ? 8 : 9}`));
  const intent = fc.record({ allowedNetworks: fc.array(range, { maxLength: 5 }), blockedNetworks: fc.array(range, { maxLength: 5 }) });
  const written = (config: { readonly allowedNetworks: string[]; readonly blockedNetworks: string[] }, mode: 'kernel' | 'userspace') =>
    networkPoliciesOf({
      ...{ sidecarId: 'f00d', namespace: 'acme', ranges, dns: dnsEndpoints(undefined), ingest: urlEndpoints('https://bifrost.bifrost.svc') },
      ...{ control: controlEndpoints(undefined), relays: RELAYS_OUTSIDE, withheld: withheldNetworks(config, mode) },
    }).map(shapeOf);

  it('in userspace mode what is written denies clear egress to all that it must, whatever the intent', () => {
    fc.assert(
      fc.property(intent, (config) => {
        const networks = [...config.allowedNetworks, ...config.blockedNetworks, ...TAILNET_NETWORKS];
        const labels = { 'bifrost.dev/sidecar-id': 'f00d' };
        expect(clearEgress(written(config, 'userspace'), { labels, networks, clusterRanges: ranges })).toBe('denied');
      }),
    );
  });

  it('in kernel mode no packet goes to a blocked address that is none of the Internet, and one to the Internet is as it was', () => {
    const from = { namespace: 'acme', namespaceLabels: {}, labels: { 'bifrost.dev/sidecar-id': 'f00d' }, addresses: [] };
    const locals = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16'].flatMap((text) => parseCidr(text) ?? []);
    fc.assert(
      fc.property(intent, fc.ipV4(), (config, text) => {
        const to = parseAddress(text) as IpAddress;
        const isIn = (texts: readonly string[]): boolean => texts.some((each) => cidrContains(parseCidr(each) ?? expect.unreachable(), to));
        const policies = written(config, 'kernel').map((policy) => ({ ...policy, namespace: 'acme' }));
        const isCluster = isIn(Object.values(ranges).flat());
        const isWithheld = isIn(config.blockedNetworks) && locals.some((local) => cidrContains(local, to));
        const { verdict } = judgeNetworkPolicy(policies, { from, to, protocol: 'UDP', port: 41641 });
        expect(verdict).toBe(isCluster || isWithheld ? 'denied' : 'allowed');
      }),
    );
  });
});
