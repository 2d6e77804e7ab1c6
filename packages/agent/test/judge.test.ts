import { fromWire, type ReportV1 } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { TrafficCounters } from '../src/domain/counters.ts';
import { changeKey, hindrance, isTroubled, nodeFromStatus, peersFromStatus } from '../src/domain/judge.ts';
import { doubtPing, isAnswering, isInUse, type PingRecord, pathOf, pingTargets, recordPing } from '../src/domain/pings.ts';
import { encodeReport } from '../src/domain/report.ts';
import { extras, peer, status, type ViewPart, view } from './support/views.ts';

const NOW = 1_800_000_000_000;
const answered = (path: 'direct' | 'derp' | 'peer-relay' = 'direct'): PingRecord => ({ failures: 0, answer: { latencyMs: 5, path } });
const silent = (failures: number, before?: PingRecord): PingRecord => ({ failures, answer: before?.answer });

describe('pathOf and isAnswering', () => {
  it.each([
    ['what the daemon has proven', peer({ proven: 'direct' }), silent(2), 'direct'],
    ['peer relay', peer({ proven: 'peer-relay' }), undefined, 'peer-relay'],
    ['the last ping', peer({ active: false }), answered('direct'), 'direct'],
    ['the last answer, after one miss', peer(), silent(1, answered('direct')), 'direct'],
    ['nothing after two', peer(), silent(2, answered('direct')), 'none'],
    ['nothing where no ping ever came back', peer(), silent(1), 'none'],
    ['the relay of an active peer', peer({ active: true }), undefined, 'derp'],
    ['nothing for a quiet peer', peer({ active: false }), undefined, 'none'],
    ['nothing without a region', peer({ relayed: false }), undefined, 'none'],
  ] as const)('%s', (_, of, ping, path) => expect(pathOf(of, ping)).toBe(path));

  it.each([
    ['an answer', peer(), answered(), true],
    ['an answer before one miss', peer(), silent(1, answered()), true],
    ['two misses', peer(), silent(2, answered()), false],
    ['two misses whatever the handshake', peer({ lastHandshakeAtMs: NOW }), silent(2), false],
    ['never asked, fresh handshake', peer({ lastHandshakeAtMs: NOW - 1000 }), undefined, true],
    ['never asked, old handshake', peer({ lastHandshakeAtMs: NOW - 200_000 }), undefined, false],
    ['never asked, none', peer(), undefined, false],
  ] as const)('answering: %s', (_, of, ping, expected) => expect(isAnswering(of, ping, NOW)).toBe(expected));

  it('recordPing counts misses in a row and keeps the last answer', () => {
    const once = recordPing(answered(), undefined);
    expect(recordPing(once, undefined)).toMatchObject({ failures: 2, answer: { path: 'direct' } });
    expect(recordPing(once, { latencyMs: 9, path: 'derp' })).toEqual({ failures: 0, answer: { latencyMs: 9, path: 'derp' } });
  });
  it('doubt makes the next miss the last, and forgives at the next answer', () => {
    expect(doubtPing(answered())).toMatchObject({ failures: 1, answer: { path: 'direct' } });
    expect(doubtPing(silent(3)).failures).toBe(3);
    expect(recordPing(doubtPing(answered()), { latencyMs: 1, path: 'derp' }).failures).toBe(0);
    expect([{}, { health: ['no-derp-home'] }, { status: status({ controlLinked: false }) }].map((part) => isTroubled(view(part)))).toEqual([
      false,
      true,
      true,
    ]);
  });
  it('asks routers first, then the busiest active peers, sixteen at most; others only as witnesses when control is away', () => {
    const many = Array.from({ length: 20 }, (_, index) => peer({ id: `n${index}`, active: true, rxBytes: index }));
    const router = peer({ id: 'router', routes: ['10.0.0.0/8'] });
    expect(pingTargets([...many, router], true).map(({ id }) => id)).toEqual([
      'router',
      ...Array.from({ length: 15 }, (_, index) => `n${19 - index}`),
    ]);
    const quiet = many.map((each) => ({ ...each, active: false }));
    expect(pingTargets(quiet, true)).toEqual([]);
    expect(pingTargets(quiet, false)).toHaveLength(3);
    expect(pingTargets([peer({ ip: undefined, active: true })], true)).toEqual([]);
  });
});

describe('hindrance: usable, not "has an address"', () => {
  const router = peer({ id: 'router', routes: ['10.1.0.0/24'] });
  const other = peer({ id: 'router2', routes: ['10.1.0.0/24'] });
  const laptop = peer({ id: 'laptop' });
  const pings = (entries: Record<string, PingRecord>) => ({ pings: new Map(Object.entries(entries)) });
  const table: readonly (readonly [string, ViewPart, ReturnType<typeof hindrance>])[] = [
    ['joined, control at hand, no peers', {}, undefined],
    ['daemon away', { reachable: false }, 'daemon'],
    ['daemon never seen', { status: undefined }, 'daemon'],
    ['not logged in', { status: status({ backendState: 'NeedsLogin' }) }, 'login'],
    ['stopped', { status: status({ backendState: 'Stopped' }) }, 'login'],
    ['no address', { status: status({ ips: [] }) }, 'address'],
    ['no DERP and no direct peer', { health: ['no-derp-connection'], status: status({ peers: [laptop] }) }, 'relay'],
    ['no DERP but a direct peer', { health: ['no-derp-home'], status: status({ peers: [peer({ proven: 'direct' })] }) }, undefined],
    ['no DERP but pings go directly', { health: ['no-derp-home'], status: status({ peers: [laptop] }), ...pings({ laptop: answered() }) }, undefined],
    ['other warnings do not matter', { health: ['update-available', 'is-using-unstable-version'] }, undefined],
    ['router answers', { status: status({ peers: [router] }), ...pings({ router: answered() }) }, undefined],
    ['router by relay answers', { status: status({ peers: [router] }), ...pings({ router: answered('derp') }) }, undefined],
    ['router missed one round', { status: status({ peers: [router] }), ...pings({ router: silent(1, answered()) }) }, undefined],
    ['router missed two', { status: status({ peers: [router] }), ...pings({ router: silent(2, answered()) }) }, 'router'],
    ['one of two routers answers', { status: status({ peers: [router, other] }), ...pings({ router: silent(5), router2: answered() }) }, undefined],
    ['router not asked yet, fresh handshake', { status: status({ peers: [peer({ ...router, lastHandshakeAtMs: NOW - 1 })] }) }, undefined],
    ['router just appeared where it was usable', { wasUsable: true, status: status({ peers: [router] }) }, undefined],
    [
      'one just appeared beside a silent one',
      { wasUsable: true, status: status({ peers: [router, other] }), ...pings({ router: silent(2) }) },
      'router',
    ],
    [
      'router asked once for the first time, in vain',
      { wasUsable: true, status: status({ peers: [router] }), ...pings({ router: silent(1) }) },
      'router',
    ],
    ['router not asked yet, no handshake', { status: status({ peers: [router] }) }, 'router'],
    [
      'router silent, but the book does not use routes',
      { acceptRoutes: false, status: status({ peers: [router] }), ...pings({ router: silent(2) }) },
      undefined,
    ],
    ['routes expected, nobody offers any', { status: status({ peers: [laptop] }), ...pings({ laptop: silent(9) }) }, undefined],
    ['control away, a router answers', { status: status({ controlLinked: false, peers: [router] }), ...pings({ router: answered() }) }, undefined],
    ['control away, a peer answers', { status: status({ controlLinked: false, peers: [laptop] }), ...pings({ laptop: answered() }) }, undefined],
    ['control away, nobody asked yet', { status: status({ controlLinked: false, peers: [laptop] }) }, undefined],
    ['control away, nobody answers', { status: status({ controlLinked: false, peers: [laptop] }), ...pings({ laptop: silent(2) }) }, 'control'],
    [
      'control away by warning only',
      { health: ['not-in-map-poll'], status: status({ peers: [laptop] }), ...pings({ laptop: silent(2) }) },
      'control',
    ],
    ['control away, no peers', { status: status({ controlLinked: false }) }, 'control'],
  ];
  it.each(table)('%s', (_, part, expected) => {
    const seen = view(part);
    expect(hindrance(seen)).toBe(expected);
    expect(nodeFromStatus(seen).usable).toBe(expected === undefined);
  });
});

describe('the report', () => {
  it('says at once that control is away, in the daemon own word; the daemon warns minutes later', () => {
    expect(nodeFromStatus(view({ status: status({ controlLinked: false }) })).health).toEqual(['not-in-map-poll']);
    expect(nodeFromStatus(view({ status: status({ controlLinked: false, backendState: 'NeedsLogin' }) })).health).toEqual([]);
  });
  it('keeps what was last known of a daemon that is away', () => {
    expect(nodeFromStatus(view({ reachable: false }))).toMatchObject({
      reachable: false,
      usable: false,
      backendState: 'Running',
      ips: ['100.64.0.1'],
    });
  });
  it('lists the busiest first, with routers in it whatever their traffic', () => {
    const peers = Array.from({ length: 70 }, (_, index) => peer({ id: `n${index}`, active: true, rxBytes: 1000 + index }));
    const counters = new TrafficCounters();
    const seen = view({ status: status({ peers: [...peers, peer({ id: 'router', routes: ['10.0.0.0/8'] })] }) });
    counters.observe(seen.status?.peers ?? []);
    const listed = peersFromStatus(seen, counters).map(({ id }) => id);
    expect([listed.length, listed[0], listed.at(-1)]).toEqual([64, 'n69', 'router']);
  });
  it.each([
    ['a router', peer({ routes: ['10.0.0.0/8'] }), true],
    ['one that packets went to', peer({ active: true }), true],
    ['one that sent us something', peer({ lastHandshakeAtMs: NOW - 170_000 }), true],
    ['one that was quiet for long', peer({ lastHandshakeAtMs: NOW - 190_000, rxBytes: 5 }), false],
    ['one that is merely there', peer(), false],
  ])('names peers in use only: %s', (_, one, isNamed) => {
    expect(isInUse(one, NOW)).toBe(isNamed);
    expect(peersFromStatus(view({ status: status({ peers: [one] }) }), new TrafficCounters())).toHaveLength(isNamed ? 1 : 0);
  });
  it('says which of its own routes are approved, once the daemon has told what it advertises', () => {
    const ownRoutes = ['10.2.0.0/24', '192.0.2.0/24'];
    const seen = (advertisedRoutes: readonly string[] | undefined) =>
      nodeFromStatus(view({ status: status({ ownRoutes }), extras: extras({ advertisedRoutes }) }));
    expect(seen(['10.1.0.0/24', '10.2.0.0/24'])).toMatchObject({
      advertisedRoutes: ['10.1.0.0/24', '10.2.0.0/24'],
      approvedRoutes: ['10.2.0.0/24'],
    });
    expect(seen([])).not.toHaveProperty('advertisedRoutes');
    expect(seen(undefined)).not.toHaveProperty('approvedRoutes');
  });
  it('stays within the manager limit, leaving out the least busy', () => {
    const routes = Array.from({ length: 64 }, (_, index) => `fd00:1111:2222:${index}::/64`);
    const peers = Array.from({ length: 64 }, (_, index) => ({
      id: `n${index}`,
      name: 'é'.repeat(200),
      online: true,
      path: 'none' as const,
      rxBytes: 0,
      txBytes: 0,
      routes,
    }));
    const report = { v: 1, peers, node: { ips: [] }, idlePeers: 3 } as unknown as ReportV1;
    const body = encodeReport(report);
    expect(Buffer.byteLength(body)).toBeLessThanOrEqual(65_536);
    const read = fromWire(JSON.parse(body)) as ReportV1;
    expect(read.peers[0]?.id).toBe('n0');
    expect(read.peers.length + (read.idlePeers ?? 0)).toBe(67);
  });
  it('a change is what the manager acts on: not traffic, not latency, not the path of a peer that routes nothing', () => {
    const before = view({ status: status({ peers: [peer({ id: 'laptop' })] }) });
    const key = changeKey(before);
    const pings = new Map([['laptop', answered()]]);
    expect(changeKey({ ...before, pings, nowMs: NOW + 99, status: status({ peers: [peer({ id: 'laptop', rxBytes: 9 })] }) })).toBe(key);
    const others: ViewPart[] = [
      { reachable: false },
      { health: ['warming-up'] },
      ...[{ backendState: 'Stopped' }, { ips: ['100.64.0.9'] }, { deviceId: 'other' }, { homeDerp: 'fra' }, { controlLinked: false }].map((part) => ({
        status: status(part),
      })),
      { status: status({ peers: [peer({ id: 'laptop', routes: ['10.0.0.0/8'], proven: 'direct' })] }) },
      { extras: extras({ signs: ['mtu'] }) },
      { extras: extras({ advertisedRoutes: ['10.1.0.0/24'] }) },
    ];
    for (const part of others) expect(changeKey(view(part))).not.toBe(key);
  });
});
