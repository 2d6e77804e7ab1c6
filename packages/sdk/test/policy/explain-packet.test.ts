import { describe, expect, it } from 'vitest';
import { guardRules } from '../../src/domain/guard.ts';
import { compilePolicy } from '../../src/domain/policy/compile-policy.ts';
import { explainPacket, type PacketSurroundings } from '../../src/domain/policy/explain-packet.ts';
import { mergePolicy } from '../../src/domain/policy/policy-document.ts';
import { customerOf, isOurs } from './worlds.ts';

const config = {
  allowedNetworks: ['10.0.0.0/8'],
  blockedNetworks: ['10.9.0.0/16', '169.254.0.0/16'],
  accessPolicy: 'restrictive',
  enableLogging: false,
} as const;
const { member, book, router } = customerOf('acme', config, 0);
const ranges = { pods: ['10.244.0.0/16'], services: ['10.96.0.0/12'], nodes: ['10.250.0.1/32'] };
const guard = guardRules({ ...config, ranges, servedPorts: [], directAddresses: [] });
const policyText = mergePolicy('{}', compilePolicy({ members: [member], shared: true }), isOurs);
const gateway = { ...router, name: 'gateway', connected: true };
const input: PacketSurroundings = {
  ...{ address: '10.1.0.10', port: 443, protocol: 'tcp', from: book, guard, acceptRoutes: true, isQuarantined: false, policyText },
  devices: [gateway, { ...book, name: 'book', connected: true }],
};

describe('why a packet passes or not', () => {
  it.each<[string, Partial<PacketSurroundings>, string, string, string | undefined]>([
    ['an allowed address', {}, 'allowed', 'tailnet-policy', 'grants.0'],
    ['a blocked one', { address: '10.9.0.1' }, 'denied', 'guard', '5100 to 10.9.0.0/16 prohibit'],
    ['the metadata address', { address: '169.254.169.254' }, 'denied', 'guard', '5100 to 169.254.0.0/16 prohibit'],
    ['a Service of the cluster', { address: '10.96.0.10' }, 'outside', 'guard', '5010 to 10.96.0.0/12 lookup main'],
    ['the Internet', { address: '203.0.113.9' }, 'outside', 'guard', '5130 from all lookup main'],
    ['an allowed one without a router', { devices: [] }, 'denied', 'route', undefined],
    ['one whose router is away', { devices: [{ ...gateway, connected: false }] }, 'denied', 'route', '10.0.0.0/8 by gateway'],
    [
      'one whose longer route is of a router that is away',
      { devices: [gateway, { ...gateway, name: 'near', routes: ['10.1.0.0/16'], connected: false }] },
      'denied',
      'route',
      '10.1.0.0/16 by near',
    ],
    ['routes that are not accepted', { acceptRoutes: false }, 'denied', 'preference', 'acceptRoutes'],
    ['a policy that grants nothing', { policyText: '{ "grants": [] }' }, 'denied', 'tailnet-policy', undefined],
    [
      'a port that is not granted',
      { policyText: JSON.stringify({ grants: [{ src: book.tags, dst: ['10.0.0.0/8'], ip: ['tcp:80'] }] }) },
      'denied',
      'tailnet-policy',
      undefined,
    ],
    ['the gateway itself, under restrictive', { address: '100.64.0.2' }, 'denied', 'tailnet-policy', undefined],
    ['a tailnet address that nobody has', { address: '100.64.7.7' }, 'denied', 'route', undefined],
    ['a policy that cannot be read', { policyText: '{' }, 'unknown', 'tailnet-policy', undefined],
    ['a policy that we may not read', { policyText: undefined }, 'unknown', 'tailnet-policy', undefined],
    ['a book that has not joined', { from: undefined }, 'unknown', 'tailnet-policy', undefined],
    ['userspace mode', { guard: [] }, 'unknown', 'tailnet-policy', 'grants.0'],
  ])('%s', (_, change, verdict, layer, by) => {
    const said = explainPacket({ ...input, ...change });
    expect([said.verdict, said.layer, said.by]).toEqual([verdict, layer, by]);
    for (const { message } of said.steps) expect(message).toMatch(/\w/);
  });

  it('tells the way of a packet that arrives', () => {
    expect(explainPacket(input).steps.map(({ layer, outcome, by }) => [layer, outcome, by])).toEqual([
      ['guard', 'passes', '5110 to 10.0.0.0/8 lookup 52'],
      ['route', 'passes', '10.0.0.0/8 by gateway'],
      ['tailnet-policy', 'passes', 'grants.0'],
    ]);
  });
});
