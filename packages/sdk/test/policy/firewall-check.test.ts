import type { FirewallPurpose, PathClass } from '@bifrost/types/core';
import { assert, boolean, constantFrom, integer, array as listOf, option, property, record } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DeviceConnectivity, type FirewallRouter, firewallCheck, type RouterLink } from '../../src/domain/policy/firewall-check.ts';
import { firewallRequirements } from '../../src/domain/policy/firewall-requirements.ts';

const NOW = 1_000_000_000;
const relay = (region: string, regionName: string) => ({
  ...{ region, regionName, host: `${region}.example`, addresses: ['192.0.2.1', '2001:db8::1'], port: 443, stunPort: 3478 },
});
const requirements = firewallRequirements({ loginServer: 'https://login.example', relays: [relay('fra', 'Frankfurt'), relay('nyc', 'New York')] });

const seen = (part: Partial<DeviceConnectivity> = {}): DeviceConnectivity => ({
  ...{ regions: [{ name: 'Frankfurt', latencyMs: 9, isHome: true }], udp: true, ipv6: false, mappingVaries: false },
  ...part,
});
const blind = seen({ udp: false, regions: [] });
const link = (path: PathClass, part: Partial<RouterLink> = {}): RouterLink => ({
  path,
  relayWorks: true,
  heardAtMs: NOW - 5_000,
  sinceMs: NOW - 30_000,
  ...part,
});
const router = (part: Partial<FirewallRouter> = {}): FirewallRouter => ({
  ...{ name: 'gw', connected: true, lastSeenAtMs: undefined, connectivity: seen(), links: [] },
  ...part,
});
const away = { connected: false, lastSeenAtMs: NOW - 600_000 };

interface Wanted {
  readonly purpose: FirewallPurpose;
  readonly destination?: string;
  readonly direction?: string;
}
const judge = (wanted: Wanted, ...routers: readonly FirewallRouter[]) => {
  const rows = firewallCheck(requirements, { routers, nowMs: NOW });
  const row = rows.find((candidate) => Object.entries(wanted).every(([key, value]) => candidate[key as keyof Wanted] === value));
  return { status: row?.status, at: row?.evidence[0]?.at.getTime(), evidence: row?.evidence ?? [] };
};

const CONTROL: Wanted = { purpose: 'control' };
const FRA_RELAY: Wanted = { purpose: 'relay', destination: 'fra.example' };
const NYC_RELAY: Wanted = { purpose: 'relay', destination: 'nyc.example' };
const FRA_STUN: Wanted = { purpose: 'stun', destination: 'fra.example' };
const FRA_STUN6: Wanted = { purpose: 'stun', destination: '2001:db8::1' };
const NYC_STUN: Wanted = { purpose: 'stun', destination: 'nyc.example' };
const OUT: Wanted = { purpose: 'direct', direction: 'outbound' };
const IN: Wanted = { purpose: 'direct', direction: 'inbound' };

describe('which lines of a firewall are blocked now', () => {
  it('nobody there to tell: all unknown', () => {
    const rows = firewallCheck(requirements, { routers: [], nowMs: NOW });
    expect(new Set(rows.map(({ status }) => status))).toEqual(new Set(['unknown']));
    expect(rows.every(({ evidence }) => evidence.length === 0)).toBe(true);
    expect(rows.map(({ status: _, evidence: __, ...row }) => row)).toEqual(requirements);
  });

  it.each<[string, Wanted, FirewallRouter, string]>([
    ['a router that is connected', CONTROL, router(), 'open'],
    ['one that is away, and nobody reaches', CONTROL, router(away), 'unknown'],
    ['one that is away while books reach it', CONTROL, router({ ...away, links: [link('derp')] }), 'blocked'],
    ['one that is away since a moment', CONTROL, router({ ...away, lastSeenAtMs: NOW - 120_000, links: [link('direct')] }), 'unknown'],
    ['one that was never seen', CONTROL, router({ connected: false, links: [link('direct')] }), 'unknown'],
    ['STUN that answers', FRA_STUN, router(), 'open'],
    ['STUN of a region that was not asked', NYC_STUN, router(), 'unknown'],
    ['no UDP at all', FRA_STUN, router({ connectivity: blind }), 'blocked'],
    ['no UDP at all, any region', NYC_STUN, router({ connectivity: blind }), 'blocked'],
    ['no UDP, as it found when it was there', FRA_STUN, router({ ...away, connectivity: blind }), 'unknown'],
    ['nothing told of UDP', FRA_STUN, router({ connectivity: seen({ udp: undefined }) }), 'unknown'],
    ['nothing told at all', FRA_STUN, router({ connectivity: undefined }), 'unknown'],
    ['IPv6 where there is none', FRA_STUN6, router({ connectivity: blind }), 'unknown'],
    ['IPv6 where there is some', FRA_STUN6, router({ connectivity: seen({ ipv6: true }) }), 'open'],
    ['a link by its home relay', FRA_RELAY, router({ links: [link('derp')] }), 'open'],
    ['a link by a relay that is not its home', NYC_RELAY, router({ links: [link('derp')] }), 'unknown'],
    ['a link by a relay nobody knows', FRA_RELAY, router({ connectivity: blind, links: [link('derp')] }), 'unknown'],
    ['no link by any relay', FRA_RELAY, router({ connectivity: blind, links: [link('none')] }), 'blocked'],
    ['no link since a moment', FRA_RELAY, router({ connectivity: blind, links: [link('none', { sinceMs: NOW - 29_999 })] }), 'unknown'],
    ['no link, while UDP works', FRA_RELAY, router({ links: [link('none')] }), 'unknown'],
    [
      'no link from a book that has no relay itself',
      FRA_RELAY,
      router({ connectivity: blind, links: [link('none', { relayWorks: false })] }),
      'unknown',
    ],
    ['no link from one book, a link from another', FRA_RELAY, router({ connectivity: blind, links: [link('none'), link('direct')] }), 'unknown'],
    ['no link to one that is away', FRA_RELAY, router({ ...away, connectivity: blind, links: [link('none')] }), 'unknown'],
    ['nobody who has tried', FRA_RELAY, router({ connectivity: blind }), 'unknown'],
    ['a direct link, outbound', OUT, router({ links: [link('direct')] }), 'open'],
    ['a direct link, inbound', IN, router({ links: [link('direct')] }), 'open'],
    ['a direct link with one that is away', OUT, router({ ...away, links: [link('direct')] }), 'open'],
    ['no UDP and links by relays', OUT, router({ connectivity: blind, links: [link('derp')] }), 'blocked'],
    ['no UDP and links by relays, inbound', IN, router({ connectivity: blind, links: [link('derp')] }), 'unknown'],
    ['UDP and links by relays', OUT, router({ links: [link('derp')] }), 'unknown'],
    ['a port for each destination', OUT, router({ connectivity: seen({ mappingVaries: true }), links: [link('derp')] }), 'unknown'],
  ])('%s', (_, wanted, given, status) => {
    expect(judge(wanted, given).status).toBe(status);
  });

  it('says of whom, and when: now, the agent’s report, or when the router was last seen', () => {
    expect(judge(CONTROL, router())).toMatchObject({ at: NOW, evidence: [{ router: 'gw', status: 'open' }] });
    expect(judge(OUT, router({ links: [link('direct', { heardAtMs: NOW - 9_000 }), link('direct')] })).at).toBe(NOW - 5_000);
    expect(judge(CONTROL, router({ ...away, links: [link('derp')] })).at).toBe(NOW - 600_000);
    expect(judge(FRA_STUN, router(away)).at).toBe(NOW - 600_000);
  });

  it('of several routers, one that is blocked decides, then one that is open; evidence is bounded', () => {
    const silent = Array.from({ length: 5 }, (_, index) => router({ name: `silent-${index}`, connectivity: undefined }));
    expect(judge(FRA_STUN, ...silent, router(), router({ name: 'walled', connectivity: blind }))).toMatchObject({
      status: 'blocked',
      evidence: [{ router: 'walled' }, { router: 'gw' }, { router: 'silent-0' }],
    });
    expect(judge(FRA_STUN, ...silent, router()).status).toBe('open');
    expect(judge(FRA_STUN, ...silent).evidence).toHaveLength(3);
  });

  it('never says blocked of what works: not without a router that says so, and never of a link that is up', () => {
    const links = listOf(
      record({
        path: constantFrom<PathClass>('direct', 'peer-relay', 'derp', 'none'),
        relayWorks: boolean(),
        heardAtMs: integer({ min: 0, max: NOW }),
        sinceMs: integer({ min: 0, max: NOW }),
      }),
      { maxLength: 3 },
    );
    const told = option(boolean(), { nil: undefined });
    const regions = listOf(record({ name: constantFrom('Frankfurt', 'New York'), latencyMs: integer({ min: 0, max: 500 }), isHome: boolean() }), {
      maxLength: 2,
    });
    const connectivity = option(record({ regions, udp: told, ipv6: told, mappingVaries: told }), { nil: undefined });
    const lastSeenAtMs = option(integer({ min: 0, max: NOW }), { nil: undefined });
    const one = record({ name: constantFrom('a', 'b'), connected: boolean(), lastSeenAtMs, connectivity, links });
    assert(
      property(listOf(one, { maxLength: 3 }), (routers) => {
        for (const { purpose, direction, status, evidence } of firewallCheck(requirements, { routers, nowMs: NOW })) {
          if (status !== 'blocked') continue;
          expect(evidence[0]?.status).toBe('blocked');
          const mayBlock = routers.some((each) => {
            const { connected } = each;
            const paths = each.links.map(({ path }) => path);
            if (purpose === 'control') return !connected && paths.some((path) => path !== 'none');
            if (!connected || each.connectivity?.udp !== false) return false;
            if (purpose === 'relay') return paths.length > 0 && paths.every((path) => path === 'none');
            return purpose === 'stun' || (direction === 'outbound' && !paths.includes('direct'));
          });
          expect(mayBlock).toBe(true);
        }
      }),
    );
  });
});
