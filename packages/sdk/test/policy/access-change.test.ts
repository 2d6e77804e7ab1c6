import type { NetworkConfiguration } from '@bifrost/types/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { accessChange, accessPorts, callerChange, lossOf } from '../../src/domain/policy/access-change.ts';
import { compilePolicy } from '../../src/domain/policy/compile-policy.ts';
import { lintIntent } from '../../src/domain/policy/lint-intent.ts';
import { reachOf } from '../../src/domain/policy/reach.ts';
import { ADDRESSES, configuration, isIn, isWanted } from './worlds.ts';

const isAmong = (address: string, networks: readonly string[]): boolean => networks.some((network) => isIn(address, network));

describe('what an intent grants', () => {
  it('is allowed minus blocked, address by address', () => {
    fc.assert(
      fc.property(configuration, (config) => {
        const { networks } = reachOf(config);
        for (const address of ADDRESSES) expect([address, isAmong(address, networks)]).toEqual([address, isWanted(config, address)]);
      }),
      { seed: 6, numRuns: 500 },
    );
  });

  it('grows by no block, and by no order', () => {
    fc.assert(
      fc.property(configuration, fc.constantFrom(...ADDRESSES), (config, address) => {
        const blocked = [...config.blockedNetworks, `${address}/${address.includes(':') ? 128 : 32}`];
        const { gained } = accessChange(config, { ...config, blockedNetworks: blocked });
        expect(gained).toEqual([]);
        const turned = { ...config, allowedNetworks: [...config.allowedNetworks].reverse(), blockedNetworks: [...config.blockedNetworks].reverse() };
        expect(accessChange(config, turned)).toEqual({ gained: [], lost: [], devices: 'same' });
      }),
      { seed: 6, numRuns: 300 },
    );
  });

  it('is taken out of 10,000 ranges in less than a second', () => {
    const allowedNetworks = Array.from({ length: 10_000 }, (_, at) => `10.${at >> 8}.${at & 255}.0/25`);
    const fromMs = performance.now();
    const { networks } = reachOf({
      allowedNetworks,
      blockedNetworks: ['10.3.0.0/16', '10.5.7.0/26'],
      accessPolicy: 'restrictive',
      enableLogging: false,
    });
    expect(performance.now() - fromMs).toBeLessThan(1_000);
    expect([networks.includes('10.3.1.0/25'), networks.includes('10.5.7.64/26'), networks.length]).toEqual([false, true, 10_000 - 256]);
  });
});

describe('what a change of it does', () => {
  it('is told address by address', () => {
    fc.assert(
      fc.property(configuration, configuration, (before, after) => {
        const { gained, lost } = accessChange(before, after);
        for (const address of ADDRESSES) {
          const [was, is] = [isWanted(before, address), isWanted(after, address)];
          expect([address, isAmong(address, gained), isAmong(address, lost)]).toEqual([address, is && !was, was && !is]);
        }
      }),
      { seed: 6, numRuns: 500 },
    );
  });

  it('is on the ports that are granted, and on none where nothing changes', () => {
    const before = { allowedNetworks: ['10.0.0.0/8'], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false } as const;
    const ports = (after: typeof before | NetworkConfiguration, from: NetworkConfiguration = before) =>
      accessPorts(accessChange(from, after), from, after);
    const granted = compilePolicy({ members: [{ sourceTags: ['tag:b'], routerTag: 'tag:r', config: before, books: [] }], shared: false }).grants;
    expect(ports({ ...before, allowedNetworks: ['10.0.0.0/9'] })).toEqual(granted[0]?.ip);
    expect(ports(before, { ...before, allowedNetworks: [] })).toEqual(granted[0]?.ip);
    expect(ports({ ...before, accessPolicy: 'standard' })).toEqual(['*']);
    expect(ports(before, { ...before, accessPolicy: 'standard' })).toEqual(['*']);
    expect(ports(before)).toEqual([]);
  });

  it('to a book: its shell and what it offers are gained and lost one by one, with their ports', () => {
    const config = { allowedNetworks: ['10.0.0.0/8'], blockedNetworks: [], accessPolicy: 'standard', enableLogging: false } as const;
    const grants = (enableSsh: boolean, advertiseRoutes: readonly string[], shared = false) =>
      compilePolicy({
        members: [{ sourceTags: ['tag:c'], routerTag: 'tag:r', config, books: [{ tag: 'tag:b', enableSsh, advertiseRoutes }] }],
        shared,
      }).grants;
    const shell = { from: 'tag:r', to: 'tag:b', ports: ['tcp:22'] };
    const offered = (to: string) => ({ from: 'tag:r', to, ports: ['*'] });
    for (const shared of [false, true]) {
      const [none, both] = [grants(false, [], shared), grants(true, ['10.7.0.0/24', '10.8.0.0/24'], shared)];
      const all = [offered('10.7.0.0/24'), offered('10.8.0.0/24'), shell];
      expect(callerChange(none, both)).toEqual({ gained: all, lost: [] });
      expect(callerChange(both, none)).toEqual({ gained: [], lost: all });
      expect(callerChange(both, grants(false, ['10.8.0.0/24', '10.9.0.0/24'], shared))).toEqual({
        gained: [offered('10.9.0.0/24')],
        lost: [offered('10.7.0.0/24'), shell],
      });
      expect(callerChange(both, both)).toEqual({ gained: [], lost: [] });
    }
  });

  it.each([
    ['all of it', ['10.0.0.0/8'], [], ['10.1.0.0/16'], 'all'],
    ['some of it', ['10.0.0.0/8'], ['10.0.0.0/9'], ['10.0.0.0/8'], 'some'],
    ['nothing of it', ['10.0.0.0/8'], ['10.1.0.0/16'], ['10.1.0.0/16'], 'nothing'],
    ['nothing, where it was none', ['10.0.0.0/8'], [], ['192.168.0.0/16'], 'nothing'],
  ] as const)('a peer behind which %s is lost', (_, before, after, routes, loss) => {
    const of = (networks: readonly string[]) => ({ networks, devices: false });
    expect(lossOf(routes, { before: of(before), after: of(after) })).toBe(loss);
  });
});

describe('what may be meant otherwise', () => {
  const config = { allowedNetworks: ['10.0.0.0/8'], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false } as const;
  const codes = (input: Parameters<typeof lintIntent>[0]) => lintIntent(input).map(({ code, path }) => [code, path]);
  it.each<[string, Parameters<typeof lintIntent>[0], readonly (readonly [string, string])[]]>([
    ['nothing', { config }, []],
    [
      'allowed that is wholly blocked',
      { config: { ...config, blockedNetworks: ['10.0.0.0/9', '10.128.0.0/9'] } },
      [['ALLOWED_WHOLLY_BLOCKED', 'config.allowedNetworks.0']],
    ],
    [
      'blocked outside of allowed',
      { config: { ...config, blockedNetworks: ['192.168.0.0/16'] } },
      [['BLOCKED_NOT_ALLOWED', 'config.blockedNetworks.0']],
    ],
    ['the same under permissive', { config: { ...config, accessPolicy: 'permissive', blockedNetworks: ['192.168.0.0/16'] } }, []],
    ['blocked devices', { config: { ...config, blockedNetworks: ['100.64.3.0/24'] } }, [['BLOCKED_AMONG_DEVICES', 'config.blockedNetworks.0']]],
    ['allowed devices', { config: { ...config, allowedNetworks: ['100.0.0.0/8'] } }, [['ALLOWED_AMONG_DEVICES', 'config.allowedNetworks.0']]],
    [
      'the same twice, once each',
      { config: { ...config, allowedNetworks: ['100.64.0.0/10', '100.64.0.0/10'], blockedNetworks: ['192.168.0.0/16', '192.168.0.0/16'] } },
      [
        ['BLOCKED_NOT_ALLOWED', 'config.blockedNetworks.0'],
        ['ALLOWED_AMONG_DEVICES', 'config.allowedNetworks.0'],
      ],
    ],
    [
      'allowed that no router brings, whole and in part',
      {
        config: {
          ...config,
          allowedNetworks: [
            '127.0.0.0/8',
            '224.0.0.0/4',
            '::1/128',
            'ff00::/8',
            '169.254.0.0/16',
            'fe80::/10',
            '0.0.0.0/8',
            '169.254.169.254/32',
            'ff02::/16',
          ],
        },
      },
      Array.from({ length: 9 }, (_, at): readonly [string, string] => ['ALLOWED_UNROUTABLE', `config.allowedNetworks.${at}`]),
    ],
    [
      'allowed beside those: a router may bring it',
      { config: { ...config, allowedNetworks: ['126.0.0.0/8', '128.0.0.0/8', '169.253.0.0/16', '::2/128', 'fec0::/10', '223.0.0.0/8'] } },
      [],
    ],
    [
      'overlap with the cluster',
      { config, ranges: { pods: ['10.244.0.0/16'], services: ['192.168.0.0/16'], nodes: [] } },
      [['OVERLAPS_CLUSTER', 'config.allowedNetworks.0']],
    ],
    [
      'a cluster among devices',
      { config, ranges: { pods: ['100.64.0.0/16'], services: [], nodes: [] } },
      [['CLUSTER_AMONG_DEVICES', 'cluster.pods.0']],
    ],
    [
      'routes that overlap',
      {
        config,
        others: [
          { network: '10.1.0.0/16', owner: 'gateway-b' },
          { network: '172.16.0.0/12', owner: 'x' },
        ],
      },
      [['ROUTES_OVERLAP', 'config.allowedNetworks.0']],
    ],
    [
      'a router that carries a part of another’s range',
      {
        config,
        routers: [
          { name: 'wide', routes: ['172.16.0.0/12'] },
          { name: 'narrow', routes: ['172.20.0.0/16'] },
        ],
      },
      [['ROUTES_OVERLAP', 'routes.wide']],
    ],
    [
      'two routers that are a spare of each other',
      {
        config,
        routers: [
          { name: 'one', routes: ['172.16.0.0/12'] },
          { name: 'two', routes: ['172.16.0.0/12'] },
        ],
      },
      [],
    ],
    [
      'a grant for everybody',
      { config, policyText: '{ "grants": [{ "src": ["tag:a"], "dst": ["*"], "ip": ["*"] }] }' },
      [['OPEN_GRANT', 'policy.grants.0']],
    ],
    ['no rules at all', { config, policyText: '{}' }, [['OPEN_GRANT', 'policy']]],
  ])('%s', (_, input, found) => expect(codes(input)).toEqual(found));
});
