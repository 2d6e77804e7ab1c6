import { describe, expect, it } from 'vitest';
import { busMasks, readNotify, tellsHealth } from '../src/domain/bus.ts';
import { readStatus } from '../src/domain/daemon.ts';

describe('readStatus', () => {
  it('reads what a daemon writes before login: nulls and zero times', () => {
    const json = { BackendState: 'NeedsLogin', TailscaleIPs: null, Self: { ID: '', Relay: '', Online: false }, Peer: null, Health: null };
    expect(readStatus(json)).toEqual({ backendState: 'NeedsLogin', ips: [], ownRoutes: [], controlLinked: false, peers: [] });
  });
  it('names a peer without its trailing dot, and tells routes from own addresses and from exit routes', () => {
    const raw = {
      ID: 'n1',
      HostName: 'gate',
      DNSName: 'gate.tail1.ts.net.',
      TailscaleIPs: ['100.64.0.2', 'fd7a::2'],
      AllowedIPs: ['100.64.0.2/32', 'fd7a::2/128', '10.1.0.0/24', '0.0.0.0/0', '::/0'],
      CurAddr: '192.0.2.1:41641',
      Relay: 'fra',
      LastHandshake: '0001-01-01T00:00:00Z',
      RxBytes: -1,
      TxBytes: 5,
      Online: true,
    };
    const read = readStatus({ BackendState: 'Running', Peer: { k: raw, other: { ...raw, ID: '' } } });
    expect(read?.peers).toEqual([
      expect.objectContaining({ name: 'gate.tail1.ts.net', ip: '100.64.0.2', routes: ['10.1.0.0/24'], proven: 'direct', rxBytes: 0, txBytes: 5 }),
    ]);
    expect(read?.peers[0]?.lastHandshakeAtMs).toBeUndefined();
    expect(readStatus({ BackendState: 'Running', Peer: { k: { ...raw, ExitNode: true } } })?.peers[0]?.routes).toContain('0.0.0.0/0');
  });
  it('knows the routes that the tailnet sends to us', () => {
    const Self = { TailscaleIPs: ['100.64.0.1'], AllowedIPs: ['100.64.0.1/32', '10.1.0.0/24', '0.0.0.0/0'] };
    expect(readStatus({ BackendState: 'Running', Self })?.ownRoutes).toEqual(['10.1.0.0/24', '0.0.0.0/0']);
  });
  it('bounds and cleans text that reaches the manager', () => {
    const read = readStatus({ BackendState: 'Run\nning', Version: 'v'.repeat(99), Peer: { k: { ID: 'n1', HostName: 'a\u0007b'.padEnd(400, 'c') } } });
    expect([read?.backendState, read?.daemonVersion?.length, read?.peers[0]?.name.length]).toEqual(['Running', 64, 255]);
  });
  it.each([[undefined], [null], ['text'], [[]], [{}], [{ BackendState: 7 }]])('is undefined for %j', (json) => {
    expect(readStatus(json)).toBeUndefined();
  });
});

describe('readNotify', () => {
  const impacting = { Severity: 'high', ImpactsConnectivity: true, BrokenSince: '2024-01-01T00:00:00Z', Text: 'long', DependsOn: ['warming-up'] };
  it.each([
    ['nothing', { State: null, Prefs: null }, undefined],
    ['engine counters, which reading the status may cause', { Engine: { RBytes: 1 } }, undefined],
    ['a state', { State: 0 }, {}],
    ['healthy again', { Health: { Warnings: null } }, { warnings: [] }],
    [
      'warnings, by code, with what is missing or new in them taken as medium',
      { Health: { Warnings: { c: { Severity: 'grave' }, b: null, a: impacting } } },
      {
        warnings: [
          { code: 'a', severity: 'high', impactsConnectivity: true, sinceMs: 1_704_067_200_000 },
          { code: 'b', severity: 'medium' },
          { code: 'c', severity: 'medium' },
        ],
      },
    ],
    ['settings', { Prefs: { WantRunning: true } }, { prefs: true }],
    ['peers', { PeersRemoved: [1] }, {}],
    ['a session', { PeerState: { n1: { PeerWireGuardState: 'expired' } } }, {}],
    ['the last word to a slow reader', { ErrMessage: 'fell behind' }, {}],
    ['no object', 'text', undefined],
  ])('%s', (_, json, hint) => expect(readNotify(json)).toEqual(hint));
  it('keeps at most 32 warnings', () => {
    const Warnings = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`w${index}`, {}]));
    expect(readNotify({ Health: { Warnings } })?.warnings).toHaveLength(32);
  });
});

describe('busMasks', () => {
  const [states, deltas, old, health, least] = [324_230 - 4 - 16_384, 62_086 - 4 - 16_384, 902 - 4, 130, 2] as const;
  it.each([
    ['1.102.5-tabc', [states, deltas, old, health, least]],
    ['1.103.2-dev', [states, deltas, old, health, least]],
    ['2.0.1', [states, deltas, old, health, least]],
    ['1.100.0', [deltas, old, health, least]],
    ['1.98.3', [old, health, least]],
    ['unreadable', [old, health, least]],
    [undefined, [old, health, least]],
  ])('for %s: the best first, each smaller than the one before', (version, masks) => expect(busMasks(version)).toEqual(masks));
  it('none has bits that the daemon refuses together', () => {
    for (const mask of busMasks('1.102.0')) expect(mask & 256 ? mask & (4096 | 8192 | 16_384 | 32_768) : 0).toBe(0);
  });
  it('health is told by all but the least', () => {
    expect(busMasks('1.102.0').map(tellsHealth)).toEqual([true, true, true, true, false]);
  });
});
