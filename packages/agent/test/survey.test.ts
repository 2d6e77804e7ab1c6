import { getEventListeners } from 'node:events';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { DaemonPeer } from '../src/domain/daemon.ts';
import { LARGE_PING_BYTES, LargePings } from '../src/domain/large-pings.ts';
import type { PingRecord } from '../src/domain/pings.ts';
import { DropTrend, Identities, readDroppedPackets, readIdentity, readPrefs } from '../src/domain/survey.ts';
import { Surveyor } from '../src/surveyor.ts';
import { FakeLocalApi, handClock, surroundings, unavailable } from './support/fake-local-api.ts';
import { peer } from './support/views.ts';

const answered = (path: 'direct' | 'derp' = 'direct'): PingRecord => ({ failures: 0, answer: { latencyMs: 5, path } });

describe('reading what the daemon says beside its status', () => {
  it.each([
    ['settings', { AdvertiseRoutes: ['10.1.0.0/24'], WantRunning: true, ControlURL: 'https://c' }, [['10.1.0.0/24'], true, 'https://c']],
    ['the nulls of Go', { AdvertiseRoutes: null, WantRunning: null, ControlURL: null }, [[], false, '']],
  ])('%s', (_, json, [advertisedRoutes, wantsToRun, controlUrl]) => expect(readPrefs(json)).toEqual({ advertisedRoutes, wantsToRun, controlUrl }));
  it('something else is no settings', () => expect([readPrefs([]), readPrefs('x'), readPrefs(null)]).toEqual([undefined, undefined, undefined]));

  it.each([
    ['a user', { Node: { Tags: null }, UserProfile: { LoginName: 'anna@acme.example' } }, { user: 'anna@acme.example' }],
    [
      'a tagged machine: its stand-in owner is nobody',
      { Node: { Tags: ['tag:a'] }, UserProfile: { LoginName: 'tagged-devices' } },
      { tags: ['tag:a'] },
    ],
    ['control characters', { UserProfile: { LoginName: 'a\u001b[31m' } }, { user: 'a[31m' }],
    ['a tag that cannot be carried whole', { Node: { Tags: ['x'.repeat(65), 'tag:b'] } }, { tags: ['tag:b'] }],
    [
      'more tags than a report carries',
      { Node: { Tags: Array.from({ length: 9 }, (_, n) => `t${n}`) } },
      { tags: 't0 t1 t2 t3 t4 t5 t6 t7'.split(' ') },
    ],
    ['nothing', {}, {}],
    ['no object', [], undefined],
  ])('whois: %s', (_, json, identity) => expect(readIdentity(json)).toEqual(identity));

  it.each([
    ['both ways', 'tailscaled_inbound_dropped_packets_total{reason="acl"} 9\ntailscaled_inbound_dropped_packets_total{reason="error"} 3', [3, 0]],
    ['none dropped yet', 'tailscaled_outbound_dropped_packets_total{reason="error"} 0\n', [0, 0]],
    ['other labels beside', 'tailscaled_outbound_dropped_packets_total{a="b",reason="error",c="d"} 12\n', [0, 12]],
  ])('dropped packets: %s', (_, text, [inbound, outbound]) => expect(readDroppedPackets(text)).toEqual({ inbound, outbound }));
  it('a daemon without that metric does not tell', () => expect(readDroppedPackets('x 1\n')).toBeUndefined());
});

describe('DropTrend', () => {
  it.each([
    ['no drops', [0, 0, 0], false],
    ['many before we looked', [500, 500, 500], false],
    ['a few now and then', [0, 9, 18, 27], false],
    ['once many', [0, 100, 100], false],
    ['many twice in a row', [0, 10, 20], true],
    ['over', [0, 10, 20, 21], false],
    ['a restarted daemon', [100, 110, 0], false],
  ])('%s', (_, counts, rising) => {
    const trend = new DropTrend();
    for (const count of counts) trend.observe({ inbound: 0, outbound: count });
    expect(trend.isRising).toBe(rising);
  });
});

describe('Identities', () => {
  it('asks eight at a time, each once an hour, the unknown once a minute', () => {
    const identities = new Identities();
    const peers = Array.from({ length: 10 }, (_, n) => peer({ id: `n${n}` }));
    expect(identities.wanted(peers, 0)).toHaveLength(8);
    identities.set('n0', { user: 'a' }, 0);
    identities.set('n1', undefined, 0);
    const wanted = (nowMs: number) => identities.wanted(peers.slice(0, 2), nowMs).map(({ id }) => id);
    expect([wanted(1), wanted(60_000), wanted(3_600_000)]).toEqual([[], ['n1'], ['n0', 'n1']]);
    expect([identities.of('n0'), identities.of('n1'), identities.of('n9')]).toEqual([{ user: 'a' }, {}, {}]);
    expect(identities.wanted([peer({ ip: undefined })], 0)).toEqual([]);
  });
  it('forgets the oldest of very many', () => {
    const identities = new Identities();
    for (let n = 0; n < 1000; n += 1) identities.set(`n${n}`, { user: String(n) }, n);
    expect([identities.size, identities.of('n0'), identities.of('n999')]).toEqual([256, {}, { user: '999' }]);
  });
});

describe('LargePings', () => {
  const one = peer({ id: 'a' });
  const pings = (path: 'direct' | 'derp' = 'direct') => new Map([['a', answered(path)]]);
  it('three lost in a row tell; an answer clears; each is asked again only after a while', () => {
    const large = new LargePings();
    for (const expected of [false, false, true]) {
      expect(large.due([one], pings(), 0)).toEqual([one]);
      large.record('a', undefined, 0);
      expect(large.loses('a')).toBe(expected);
    }
    expect([large.due([one], pings(), 299_999), large.due([one], pings(), 300_000)]).toEqual([[], [one]]);
    large.record('a', 'derp', 300_000); // by the relay: says nothing about the direct way
    expect(large.anyLoses).toBe(true);
    large.record('a', 'direct', 300_000);
    expect([large.anyLoses, large.due([one], pings(), 599_999)]).toEqual([false, []]);
  });
  it('asks of direct ways only, four at a time, and forgets a way that is none any more', () => {
    const large = new LargePings();
    const many = Array.from({ length: 6 }, (_, n) => peer({ id: `n${n}` }));
    expect(large.due(many, new Map(many.map(({ id }) => [id, answered()])), 0)).toHaveLength(4);
    for (let turn = 0; turn < 3; turn += 1) large.record('a', undefined, 0);
    expect(large.due([one], pings('derp'), 0)).toEqual([]);
    expect(large.loses('a')).toBe(false);
    expect(large.due([one], new Map([['a', { failures: 1, answer: { latencyMs: 5, path: 'direct' as const } }]]), 0)).toEqual([]);
    expect(large.due([one], new Map(), 0)).toEqual([]);
  });
  it('is as large as a full packet of the tunnel', () => expect(LARGE_PING_BYTES).toBe(1280 + 32));
});

async function surveying(part: { peers?: readonly DaemonPeer[]; forwards?: (family: 4 | 6) => boolean | undefined } = {}) {
  const localApi = new FakeLocalApi();
  const state = { peers: part.peers as readonly DaemonPeer[] | undefined, changes: 0, pings: new Map<string, PingRecord>() };
  const clock = handClock();
  const surveyor = new Surveyor({
    ...{ localApi, clock },
    surroundings: surroundings(part.forwards ? { forwards: part.forwards } : {}),
    intervalMs: () => 1, // the pause between rounds is short; the clock stands, so that nothing is due by time
    peersInUse: () => state.peers,
    pings: () => state.pings,
    onChange: () => {
      state.changes += 1;
    },
  });
  const stop = new AbortController();
  const reason = new Error('left');
  const running = surveyor.run({ signal: stop.signal });
  running.catch(() => {});
  onTestFinished(async () => {
    stop.abort(reason);
    await expect(running).rejects.toBe(reason);
    expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
  });
  /** Until another whole survey is over. */
  const again = async () => {
    const before = state.changes;
    surveyor.ring();
    await vi.waitFor(() => expect(state.changes).toBe(before + 1));
  };
  if (part.peers !== undefined) await vi.waitFor(() => expect(state.changes).toBe(1)); // it begins with one
  return { localApi, surveyor, state, clock, again };
}

describe('Surveyor', () => {
  it('asks nothing while the daemon is away, and everything once it is back', async () => {
    const { localApi, surveyor, state } = await surveying();
    surveyor.notice();
    await Promise.resolve();
    expect(localApi.asked).toEqual([]);
    state.peers = [];
    surveyor.ring();
    await vi.waitFor(() => expect(localApi.asked).toEqual(['prefs', 'drops']));
  });
  it('finds the owners of peers in use, the new ones as they come, and asks no one twice', async () => {
    const { localApi, surveyor, state } = await surveying({ peers: [peer({ id: 'a', ip: '100.64.0.2' })] });
    await vi.waitFor(() => expect(surveyor.identities.of('a')).toEqual({ tags: ['tag:a'] }));
    localApi.whoIsIs = (ip) => ({ user: ip });
    state.peers = [peer({ id: 'a', ip: '100.64.0.2' }), peer({ id: 'b', ip: '100.64.0.3' })];
    surveyor.notice();
    await vi.waitFor(() => expect(surveyor.identities.of('b')).toEqual({ user: '100.64.0.3' }));
    expect(localApi.asked.filter((what) => what.startsWith('whois'))).toEqual(['whois 100.64.0.2', 'whois 100.64.0.3']);
    expect(state.changes).toBe(1); // a new peer is no reason to ask for all the rest
  });
  it('forwarding: asked only of who advertises, and a sign only where the kernel does not forward what is advertised', async () => {
    const { localApi, surveyor, again } = await surveying({ peers: [], forwards: (family) => family === 4 });
    await again();
    expect(localApi.asked).not.toContain('ip-forwarding');
    localApi.warnings = new Map([
      ['ip-forwarding', true],
      ['udp-gro-forwarding', true],
    ]);
    const advertising = async (advertisedRoutes: readonly string[]) => {
      localApi.prefsIs = { advertisedRoutes, wantsToRun: true, controlUrl: '' };
      await again();
      return surveyor.signs;
    };
    expect(await advertising(['10.1.0.0/24'])).toEqual(['udp-gro-forwarding']); // tailscaled means IPv6, which is not advertised
    expect(await advertising(['10.1.0.0/24', 'fd00:1::/64'])).toEqual(['ip-forwarding', 'udp-gro-forwarding']);
    localApi.warnings = new Map([['ip-forwarding', false]]);
    expect(await advertising(['fd00:1::/64'])).toEqual([]);
    expect(surveyor.advertisedRoutes).toEqual(['fd00:1::/64']);
  });
  it('where the kernel cannot be asked, the daemon’s word counts', async () => {
    const { localApi, surveyor, again } = await surveying({ peers: [], forwards: () => undefined });
    localApi.prefsIs = { advertisedRoutes: ['10.1.0.0/24'], wantsToRun: true, controlUrl: '' };
    localApi.warnings = new Map([['ip-forwarding', true]]);
    await again();
    expect(surveyor.signs).toEqual(['ip-forwarding']);
  });
  it('drops that keep rising are a sign; so are full-size packets that get lost', async () => {
    const { localApi, surveyor, state, again } = await surveying({ peers: [] });
    for (const outbound of [0, 50, 100]) {
      localApi.droppedIs = { inbound: 0, outbound };
      await again();
    }
    expect([surveyor.signs, surveyor.dropped]).toEqual([['udp-offload'], { inbound: 0, outbound: 100 }]);
    state.peers = [peer({ id: 'a', ip: '100.64.0.2' })];
    state.pings.set('a', answered());
    localApi.pingIs = () => undefined;
    for (let turn = 0; turn < 3; turn += 1) await again();
    expect(surveyor.signs).toEqual(['mtu']);
    expect(surveyor.largePings.loses('a')).toBe(true);
    expect(localApi.asked).toContain(`ping 100.64.0.2 ${LARGE_PING_BYTES}`);
  });
  it('a daemon without these endpoints, or in trouble, is no sign; what was known of its settings stays', async () => {
    const { localApi, surveyor, state, again } = await surveying({ peers: [peer({ id: 'a' })] });
    localApi.prefsIs = { advertisedRoutes: ['10.1.0.0/24'], wantsToRun: true, controlUrl: '' };
    await again();
    Object.assign(localApi, { prefsIs: undefined, droppedIs: undefined, whoIsIs: () => undefined });
    await again();
    expect([surveyor.signs, surveyor.dropped, surveyor.advertisedRoutes]).toEqual([[], undefined, ['10.1.0.0/24']]);
    state.pings.set('a', answered());
    const trouble = unavailable('status-500');
    Object.assign(localApi, { prefsIs: trouble, droppedIs: trouble, whoIsIs: () => trouble, pingIs: () => trouble });
    await again();
    expect([surveyor.signs, surveyor.advertisedRoutes, surveyor.identities.of('a')]).toEqual([[], ['10.1.0.0/24'], { tags: ['tag:a'] }]);
  });
});
