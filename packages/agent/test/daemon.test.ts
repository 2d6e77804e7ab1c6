import { describe, expect, it } from 'vitest';
import { busMask, readNotify, readStatus } from '../src/domain/daemon.ts';

describe('readStatus', () => {
  it('reads what a daemon writes before login: nulls and zero times', () => {
    const json = { BackendState: 'NeedsLogin', TailscaleIPs: null, Self: { ID: '', Relay: '', Online: false }, Peer: null, Health: null };
    expect(readStatus(json)).toEqual({ backendState: 'NeedsLogin', ips: [], controlLinked: false, peers: [] });
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
  it('bounds and cleans text that reaches the manager', () => {
    const read = readStatus({ BackendState: 'Run\nning', Version: 'v'.repeat(99), Peer: { k: { ID: 'n1', HostName: 'a\u0007b'.padEnd(400, 'c') } } });
    expect([read?.backendState, read?.daemonVersion?.length, read?.peers[0]?.name.length]).toEqual(['Running', 64, 255]);
  });
  it.each([[undefined], [null], ['text'], [[]], [{}], [{ BackendState: 7 }]])('is undefined for %j', (json) => {
    expect(readStatus(json)).toBeUndefined();
  });
});

describe('readNotify', () => {
  it.each([
    ['nothing', { State: null, Prefs: null }, undefined],
    ['engine counters, which reading the status may cause', { Engine: { RBytes: 1 } }, undefined],
    ['a state', { State: 0 }, {}],
    ['healthy again', { Health: { Warnings: null } }, { health: [] }],
    ['warnings', { Health: { Warnings: { b: {}, a: {} } } }, { health: ['a', 'b'] }],
    ['peers', { PeersRemoved: [1] }, {}],
    ['no object', 'text', undefined],
  ])('%s', (_, json, hint) => expect(readNotify(json)).toEqual(hint));

  it.each([
    ['1.102.5-tabc', 2 | 128 | 512 | 4096 | 8192 | 32_768],
    ['1.100.0', 2 | 128 | 512 | 4096 | 8192 | 32_768],
    ['2.0.1', 2 | 128 | 512 | 4096 | 8192 | 32_768],
    ['1.98.3', 2 | 128 | 256 | 512],
    [undefined, 2 | 128 | 256 | 512],
  ])('the mask for %s is %i', (version, mask) => expect(busMask(version)).toBe(mask));
});
