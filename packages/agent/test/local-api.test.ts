import { getEventListeners } from 'node:events';
import { writeFileSync } from 'node:fs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { UnixLocalApi } from '../src/adapters/http/local-api.ts';
import type { BusHint } from '../src/domain/bus.ts';
import { fakeDaemon, hang, json, reset } from './support/fake-daemon.ts';

const timeoutMs = 10_000;
const MASK = 898;

async function opened() {
  const stack = new AsyncDisposableStack();
  onTestFinished(() => stack.disposeAsync());
  const daemon = stack.use(await fakeDaemon());
  const caller = new AbortController();
  return { daemon, api: stack.use(new UnixLocalApi(daemon.socketPath)), caller, signal: caller.signal };
}
const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'fine',
    (error) => [error.code, error.details.reason],
  );

describe('UnixLocalApi', () => {
  it('asks as the daemon demands, and reads status and ping', async () => {
    const { api, daemon, signal } = await opened();
    expect(await api.status({ signal, timeoutMs })).toMatchObject({ backendState: 'Running', deviceId: 'nBOOK', peers: [{ id: 'nGATE' }] });
    expect(await api.ping('fd7a::2', { signal })).toEqual({ latencyMs: 7, path: 'direct' });
    expect(daemon.asked).toEqual([
      { method: 'GET', url: '/localapi/v0/status', host: 'local-tailscaled.sock' },
      { method: 'POST', url: '/localapi/v0/ping?ip=fd7a%3A%3A2&type=disco', host: 'local-tailscaled.sock' },
    ]);
  });
  it.each([
    [
      { Err: '', LatencySeconds: 0.0123456, PeerRelay: 'x' },
      { latencyMs: 12.35, path: 'peer-relay' },
    ],
    [
      { Err: '', LatencySeconds: 1, DERPRegionID: 4 },
      { latencyMs: 1000, path: 'derp' },
    ],
    [{ Err: 'no matching peer', LatencySeconds: 0 }, undefined],
    [{ Err: '', LatencySeconds: -1 }, undefined],
    [null, undefined],
  ])('ping %j is %j', async (answer, expected) => {
    const { api, daemon, signal } = await opened();
    daemon.next.push(json(answer));
    expect(await api.ping('100.64.0.2', { signal })).toEqual(expected);
  });
  it('a ping that fails in the daemon, or that nobody answers for two seconds, is no answer', async () => {
    const { api, daemon, signal } = await opened();
    daemon.next.push(json({ error: 'context canceled' }, 500), hang);
    expect(await api.ping('100.64.0.2', { signal })).toBeUndefined();
    const since = performance.now();
    expect(await api.ping('100.64.0.2', { signal })).toBeUndefined();
    expect(performance.now() - since).toBeGreaterThan(1900);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
  it.each([
    ['error', json({}, 500), ['LOCALAPI_UNAVAILABLE', 'status-500']],
    ['refusal', json({}, 403), ['LOCALAPI_DENIED', undefined]],
    ['reset', reset, ['LOCALAPI_UNAVAILABLE', 'ECONNRESET']],
    ['something else', json([]), ['LOCALAPI_UNAVAILABLE', undefined]],
    ['silence', hang, ['LOCALAPI_UNAVAILABLE', 'timeout']],
  ] as const)('%s: a coded error, and the next call works', async (_, answer, expected) => {
    const { api, daemon, signal } = await opened();
    daemon.next.push(answer);
    expect(await codeOf(api.status({ signal, timeoutMs: answer === hang ? 100 : timeoutMs }))).toEqual(expected);
    expect(await codeOf(api.status({ signal, timeoutMs }))).toBe('fine');
  });
  it('says that the daemon is gone, by missing or by dead socket', async () => {
    const { api, daemon, signal } = await opened();
    await daemon.stop();
    expect(await codeOf(api.status({ signal, timeoutMs }))).toEqual(['LOCALAPI_UNAVAILABLE', 'gone']);
    writeFileSync(daemon.socketPath, '');
    expect(await codeOf(api.status({ signal, timeoutMs }))).toEqual(['LOCALAPI_UNAVAILABLE', 'gone']);
    expect(await codeOf(api.watch(MASK, { signal }).next())).toEqual(['LOCALAPI_UNAVAILABLE', 'gone']);
  });
  it('asks once more at once where a kept connection was closed meanwhile', async () => {
    const { api, daemon, signal } = await opened();
    await api.status({ signal, timeoutMs });
    daemon.next.push(reset);
    expect(await codeOf(api.status({ signal, timeoutMs }))).toBe('fine');
    expect(daemon.asked).toHaveLength(3);
  });
  it('abort: every call rejects with the reason itself, before and half-way, and leaves no listener', async () => {
    const { api, daemon, caller, signal } = await opened();
    const reason = new Error('caller left');
    const early = AbortSignal.abort(reason);
    await expect(api.status({ signal: early, timeoutMs })).rejects.toBe(reason);
    await expect(api.ping('100.64.0.2', { signal: early })).rejects.toBe(reason);
    await expect(api.watch(MASK, { signal: early }).next()).rejects.toBe(reason);
    expect(daemon.asked).toEqual([]);
    Object.assign(daemon.answers, { status: hang, ping: hang });
    const waiting = [api.status({ signal, timeoutMs }), api.ping('100.64.0.2', { signal }), api.watch(MASK, { signal }).next()];
    await vi.waitFor(() => expect(daemon.asked).toHaveLength(3));
    caller.abort(reason);
    for (const each of waiting) await expect(each).rejects.toBe(reason);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});

describe('UnixLocalApi: what a daemon may have been built without', () => {
  const extras: readonly (readonly [string, (api: UnixLocalApi, signal: AbortSignal) => Promise<unknown>, unknown, unknown])[] = [
    ['whois', (api, signal) => api.whoIs('fd7a::2', { signal }), { Node: { Tags: ['tag:a'] } }, { tags: ['tag:a'] }],
    ['prefs', (api, signal) => api.prefs({ signal }), { WantRunning: true }, { advertisedRoutes: [], wantsToRun: true, controlUrl: '' }],
    ['check-ip-forwarding', (api, signal) => api.warns('ip-forwarding', { signal }), { Warning: 'it is off' }, true],
    ['check-udp-gro-forwarding', (api, signal) => api.warns('udp-gro-forwarding', { signal }), { Warning: '' }, false],
  ];
  it.each(extras)('%s: read, absent, something else, refused', async (endpoint, ask, answer, expected) => {
    const { api, daemon, signal } = await opened();
    daemon.next.push(json(answer), json('x', 404), json([]), json({}, 500), json({}, 403));
    expect(await ask(api, signal)).toEqual(expected);
    expect(await ask(api, signal)).toBeUndefined();
    expect(await ask(api, signal)).toBeUndefined();
    expect(await codeOf(ask(api, signal))).toEqual(['LOCALAPI_UNAVAILABLE', 'status-500']);
    expect(await codeOf(ask(api, signal))).toEqual(['LOCALAPI_DENIED', undefined]);
    expect(daemon.asked[0]).toMatchObject({ method: 'GET', url: expect.stringContaining(`/localapi/v0/${endpoint}`) });
  });
  it('dropped packets are read from the metrics; a daemon without them does not tell', async () => {
    const { api, daemon, signal } = await opened();
    daemon.next.push((response) => response.end('tailscaled_outbound_dropped_packets_total{reason="error"} 4\n'));
    expect(await api.droppedPackets({ signal })).toEqual({ inbound: 0, outbound: 4 });
    expect(await api.droppedPackets({ signal })).toBeUndefined();
  });
  it('a ping may have a size', async () => {
    const { api, daemon, signal } = await opened();
    await api.ping('100.64.0.2', { signal, sizeBytes: 1312 });
    expect(daemon.asked[0]?.url).toBe('/localapi/v0/ping?ip=100.64.0.2&type=disco&size=1312');
  });
  it('answers: whatever it says is an answer; silence and absence are none', async () => {
    const { api, daemon, signal } = await opened();
    daemon.next.push(json({}, 500), hang);
    expect(await api.answers({ signal, timeoutMs })).toBe(true);
    expect(await api.answers({ signal, timeoutMs: 50 })).toBe(false);
    await daemon.stop();
    expect(await api.answers({ signal, timeoutMs })).toBe(false);
    await expect(api.answers({ signal: AbortSignal.abort(new Error('left')), timeoutMs })).rejects.toThrow('left');
  });
});

describe('UnixLocalApi on the bus', () => {
  it('yields what tells something, until the daemon is killed', async () => {
    const { api, daemon, signal } = await opened();
    const hints: BusHint[] = [];
    const watching = codeOf(
      (async () => {
        for await (const hint of api.watch(MASK, { signal })) hints.push(hint);
      })(),
    );
    await vi.waitFor(() => expect(daemon.streams.size).toBe(1));
    for (const line of ['{"State":6,"Health":{"Warnings":{"b":{},"a":{}}}}', '{"Engine":{}}', '', 'no json', '{"PeersChanged":[]}']) daemon.say(line);
    await vi.waitFor(() => expect(hints).toMatchObject([{ warnings: [{ code: 'a' }, { code: 'b' }] }, {}]));
    await daemon.stop();
    expect(await watching).toEqual(['LOCALAPI_UNAVAILABLE', 'ECONNRESET']);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
  it('ends when the daemon ends the stream; leaving the loop closes it', async () => {
    const { api, daemon, signal } = await opened();
    daemon.next.push((response) => response.end('{"State":6}\n{"St'));
    const hints: BusHint[] = [];
    for await (const hint of api.watch(MASK, { signal })) hints.push(hint);
    expect(hints).toEqual([{}]);
    const stream = api.watch(MASK, { signal });
    const first = stream.next();
    await vi.waitFor(() => expect(daemon.streams.size).toBe(1));
    daemon.say('{"State":6}');
    await first;
    await stream.return();
    await vi.waitFor(() => expect(daemon.streams.size).toBe(0));
  });
  it.each([[400], [403], [404]])('%i is a coded error', async (status) => {
    const { api, daemon, signal } = await opened();
    daemon.next.push(json({}, status));
    expect(await codeOf(api.watch(MASK, { signal }).next())).toEqual(['LOCALAPI_UNAVAILABLE', `status-${status}`]);
  });
});

describe('UnixLocalApi in bounded memory', () => {
  it('asks without peers from the first status that is too large', async () => {
    const { api, daemon, signal } = await opened();
    daemon.next.push(json({ BackendState: 'Running', x: 'x'.repeat(5_000_000) }));
    expect((await api.status({ signal, timeoutMs })).backendState).toBe('Running');
    await api.status({ signal, timeoutMs });
    expect(daemon.asked.map(({ url }) => url.slice(13))).toEqual(['status', 'status?peers=false', 'status?peers=false']);
  });
  it('a message too long to keep is a mere hint', async () => {
    const { api, daemon, signal } = await opened();
    daemon.next.push((response) =>
      response.end(`{"Health":{"Warnings":{"x":{}}},"NetMap":"${'x'.repeat(300_000)}"}\n{"Health":{"Warnings":null}}\n`),
    );
    const hints: BusHint[] = [];
    for await (const hint of api.watch(MASK, { signal })) hints.push(hint);
    expect(hints).toEqual([{}, { warnings: [] }]);
  });
});
