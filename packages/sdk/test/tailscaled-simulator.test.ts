import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, type RequestOptions, request } from 'node:http';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BifrostError } from '@bifrost/types/core';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type SimulatedPeer, TailscaledSimulator } from '../src/testing/tailscaled-simulator.ts';

const node = { id: 'nBOOK', hostname: 'book', ips: ['100.64.0.1', 'fd7a:115c:a1e0::1'], tailnetDomain: 'tail1.ts.net' };
const gateway: SimulatedPeer = { id: 'nGATE', hostname: 'gate', ips: ['100.64.0.2'], routes: ['10.1.0.0/24'], latencyMs: 7 };
const signal = AbortSignal.timeout(10_000);

let folder: string;
let daemon: TailscaledSimulator;
const open: IncomingMessage[] = [];

function call(path: string, options: RequestOptions = {}): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { host: 'local-tailscaled.sock' };
    const sent = request({ socketPath: daemon.socketPath, path: `/localapi/v0/${path}`, agent: false, headers, ...options }, resolve);
    sent.on('error', reject).end();
  });
}
async function text(path: string, options?: RequestOptions): Promise<{ status: number; body: string; headers: IncomingMessage['headers'] }> {
  const incoming = await call(path, options);
  let body = '';
  for await (const chunk of incoming.setEncoding('utf8')) body += chunk;
  return { status: incoming.statusCode ?? 0, body, headers: incoming.headers };
}
const json = async (path: string, options?: RequestOptions) => JSON.parse((await text(path, options)).body);
/** Messages that arrive on the bus, as they come. */
async function watch(mask: number) {
  const incoming = await call(`watch-ipn-bus?mask=${mask}`);
  open.push(incoming);
  const messages: Record<string, unknown>[] = [];
  let rest = '';
  let ended = false;
  incoming.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) messages.push(JSON.parse(line));
  });
  incoming.on('error', () => {}).on('close', () => (ended = true));
  return { messages, ended: () => ended };
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bifrost-sim-'));
  daemon = new TailscaledSimulator({ socketPath: join(folder, 's.sock'), node, peers: [gateway] });
  await daemon.start({ signal });
});
afterEach(async () => {
  for (const incoming of open.splice(0)) incoming.destroy();
  await daemon.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe('TailscaledSimulator: the door', () => {
  it.each([
    ['a foreign Host', { host: 'localhost' }],
    ['a Referer', { host: 'local-tailscaled.sock', referer: 'http://x' }],
    ['an Origin', { host: 'local-tailscaled.sock', origin: 'http://x' }],
  ])('answers 403 to %s', async (_, headers) => {
    const { status, body } = await text('status', { headers });
    expect([status, body]).toEqual([403, 'invalid localapi request\n']);
  });
  it('answers 404 in plain text to an unknown endpoint, and names version and capability', async () => {
    const { status, headers } = await text('nothing');
    expect([status, headers['tailscale-version'], headers['tailscale-cap']]).toEqual([404, '1.102.5', '142']);
  });
  it('has the socket open to every user, and gone after stop; stop twice is fine', async () => {
    expect(statSync(daemon.socketPath).mode & 0o777).toBe(0o666);
    await daemon.stop();
    await daemon.stop();
    await expect(text('status')).rejects.toMatchObject({ code: 'ENOENT' });
  });
  it('start twice is fine; aborted start rejects with the reason itself and leaves nothing', async () => {
    await daemon.start({ signal });
    await daemon.stop();
    const reason = new Error('left');
    await expect(daemon.start({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(daemon.running).toBe(false);
  });
  it('refuses a path that is too long or taken by something else', async () => {
    const long = new TailscaledSimulator({ socketPath: `/tmp/${'x'.repeat(110)}`, node });
    await expect(long.start({ signal })).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
    writeFileSync(join(folder, 'file'), 'mine');
    const taken = new TailscaledSimulator({ socketPath: join(folder, 'file'), node });
    await expect(taken.start({ signal })).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(statSync(join(folder, 'file')).size).toBe(4);
  });
  it('fails the next request as told, and only that one', async () => {
    daemon.failNext({ kind: 'error', endpoint: 'status', status: 500 });
    daemon.failNext({ kind: 'reset', endpoint: 'status' });
    daemon.failNext({ kind: 'garbage' });
    daemon.failNext({ kind: 'error', endpoint: 'ping' });
    expect((await text('status')).status).toBe(500);
    await expect(text('status')).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect((await text('whois?addr=100.64.0.2')).body).toBe('{"BackendState":');
    expect(await json('ping?ip=100.64.0.2&type=disco', { method: 'POST' })).toEqual({ error: 'simulated fault' });
    expect((await text('status')).status).toBe(200);
  });
});

describe('TailscaledSimulator: answers', () => {
  it('writes status as Go does: null for empty, zero times, an own key per peer', async () => {
    const status = await json('status');
    expect(status).toMatchObject({
      BackendState: 'Running',
      TailscaleIPs: node.ips,
      Self: { ID: 'nBOOK', DNSName: 'book.tail1.ts.net.', Online: true, LastHandshake: '0001-01-01T00:00:00Z', PeerAPIURL: null },
      Health: [],
      CertDomains: null,
    });
    const [peer] = Object.values<Record<string, unknown>>(status.Peer);
    expect(peer).toMatchObject({ ID: 'nGATE', AllowedIPs: ['100.64.0.2/32', '10.1.0.0/24'], PrimaryRoutes: ['10.1.0.0/24'], RxBytes: 0 });
    expect(peer?.['CurAddr']).toMatch(/^192\.0\.2\.\d+:41641$/);
    expect((await json('status?peers=false')).Peer).toBeNull();
  });
  it('has no addresses and no peers before login', async () => {
    daemon.setBackendState('NeedsLogin');
    expect(await json('status')).toMatchObject({ BackendState: 'NeedsLogin', TailscaleIPs: null, Peer: null, Self: { ID: '' } });
  });
  it('answers ping by path, and its mistakes by text', async () => {
    const ping = (query: string) => json(`ping?${query}`, { method: 'POST' });
    expect(await ping('ip=100.64.0.2&type=disco')).toMatchObject({ Err: '', NodeName: 'gate', LatencySeconds: 0.007, DERPRegionID: 0 });
    expect(await ping('ip=100.64.0.9&type=disco')).toMatchObject({ Err: 'no matching peer' });
    daemon.relay();
    expect(await ping('ip=100.64.0.2&type=disco')).toMatchObject({ Endpoint: '', DERPRegionID: 1, DERPRegionCode: 'sim' });
    expect((await text('ping?ip=x&type=disco', { method: 'POST' })).status).toBe(400);
    expect((await text('ping?ip=100.64.0.2&type=disco')).status).toBe(400);
  });
  it('answers whois, prefs and usermetrics; writing is denied', async () => {
    expect(await json('whois?addr=100.64.0.2:443')).toMatchObject({ Node: { StableID: 'nGATE' } });
    expect((await text('whois?addr=100.64.0.9')).status).toBe(404);
    expect(await json('prefs')).toMatchObject({ Hostname: 'book', AdvertiseTags: null });
    expect((await text('prefs', { method: 'PATCH' })).status).toBe(403);
    daemon.addTraffic('nGATE', 10, 20);
    expect((await text('usermetrics')).body).toContain('tailscaled_outbound_bytes_total{path="direct_ipv4"} 20\n');
  });
  it('counts traffic until the daemon is started again; an unknown peer is refused', async () => {
    daemon.addTraffic('nGATE', 10, 20);
    daemon.addTraffic('nGATE', 1, 2);
    const rx = async () => Object.values<Record<string, unknown>>((await json('status')).Peer)[0]?.['RxBytes'];
    expect(await rx()).toBe(11);
    await daemon.stop();
    await daemon.start({ signal });
    expect(await rx()).toBe(0);
    expect(() => daemon.addTraffic('nobody', 1, 1)).toThrow(BifrostError);
  });
});

describe('TailscaledSimulator: the bus', () => {
  it('sends the first message by its mask, then each change', async () => {
    const { messages } = await watch(2 | 4 | 128 | 512 | 4096 | 8192 | 16_384 | 32_768);
    await vi.waitFor(() => expect(messages).toHaveLength(1));
    expect(messages[0]).toMatchObject({ Version: '1.102.5', State: 6, Prefs: {}, Health: { Warnings: null }, InitialStatus: {}, ErrMessage: null });
    daemon.setBackendState('Starting');
    daemon.setHealth(['warming-up']);
    daemon.setPeers([]);
    daemon.cutLink();
    daemon.setNode({ ...node, ips: ['100.64.0.7'] });
    await vi.waitFor(() => expect(messages).toHaveLength(6));
    expect(messages.slice(1)).toMatchObject([
      { State: 5 },
      { Health: { Warnings: { 'warming-up': { WarnableCode: 'warming-up' } } } },
      { PeersChanged: [], PeersRemoved: [expect.any(Number)] },
      { Health: { Warnings: { 'no-derp-connection': {}, 'warming-up': {} } } },
      { SelfChange: { StableID: 'nBOOK' } },
    ]);
  });
  it('sends no first message for health alone, and none of what was not asked for', async () => {
    const { messages } = await watch(128);
    daemon.addTraffic('nGATE', 1, 1); // no engine bit
    daemon.setPeers([]); // no PeerChanges bit, and this version pushes no maps
    daemon.restoreLink();
    daemon.setBackendState('Stopped');
    const down = [{ State: 4 }, { Prefs: { WantRunning: false } }, { Health: { Warnings: { 'wantrunning-false': { Severity: 'low' } } } }];
    await vi.waitFor(() => expect(messages).toMatchObject(down));
    daemon.setBackendState('Running');
    const up = [{ State: 6 }, { Prefs: { WantRunning: true } }, { Health: { Warnings: null } }];
    await vi.waitFor(() => expect(messages).toMatchObject([...down, ...up]));
  });
  it('pushes whole maps with an old version, and engine updates to those who ask', async () => {
    await daemon.stop();
    daemon = new TailscaledSimulator({ socketPath: daemon.socketPath, node, peers: [gateway], version: '1.96.1', capability: 130 });
    await daemon.start({ signal });
    const { messages } = await watch(1 | 256);
    daemon.setPeers([gateway]);
    daemon.addTraffic('nGATE', 5, 6);
    await vi.waitFor(() => expect(messages).toMatchObject([{ NetMap: { Peers: [{}] } }, { Engine: { RBytes: 5 } }]));
  });
  it.each(['x', '-1', '65536', String(256 | 4096), String(256 | 16_384)])('answers 400 to mask %s', async (mask) => {
    expect((await text(`watch-ipn-bus?mask=${mask}`)).status).toBe(400);
  });
  it('cuts a reader that falls behind', async () => {
    const socket = createConnection(daemon.socketPath);
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.pause().write('GET /localapi/v0/watch-ipn-bus?mask=4096 HTTP/1.1\r\nHost: local-tailscaled.sock\r\nConnection: close\r\n\r\n');
    await vi.waitFor(() => expect(daemon.watchers).toBe(1));
    const many = Array.from({ length: 200 }, (_, index) => ({ ...gateway, id: `n${index}`, hostname: `peer-${index}`, ips: [`100.64.1.${index}`] }));
    for (let round = 0; round < 200; round += 1) daemon.setPeers(many);
    expect(daemon.watchers).toBe(0);
    let last = '';
    socket.on('data', (chunk) => {
      last = (last + chunk.toString('latin1')).slice(-4000);
    });
    await new Promise((resolve) => socket.once('end', resolve).resume());
    expect(last).toContain('fell behind');
    socket.destroy();
  });
  it('ends the stream of watchers when the daemon is killed', async () => {
    const { ended } = await watch(2);
    await daemon.stop();
    await vi.waitFor(() => expect(ended()).toBe(true));
    expect(daemon.watchers).toBe(0);
  });
});

describe('TailscaledSimulator: the link', () => {
  it('cut: no path, a warning, pings without an answer; then as before', async () => {
    daemon.cutLink();
    const status = await json('status');
    expect(Object.values(status.Peer)).toMatchObject([{ CurAddr: '', Relay: '' }]);
    const caller = new AbortController();
    const outcomes: string[] = [];
    const waiting = call('ping?ip=100.64.0.2&type=disco', { method: 'POST', signal: caller.signal }).then(
      () => outcomes.push('answered'),
      () => outcomes.push('left'),
    );
    for (let turn = 0; turn < 5; turn += 1) await json('status');
    expect(outcomes).toEqual([]);
    caller.abort();
    await waiting;
    expect(outcomes).toEqual(['left']);
    daemon.restoreLink();
    expect(Object.values((await json('status')).Peer)).toMatchObject([{ Relay: 'sim', CurAddr: expect.stringContaining(':41641') }]);
  });
  it('control away: the daemon says so in its own status only', async () => {
    const { messages } = await watch(2);
    await vi.waitFor(() => expect(messages).toHaveLength(1));
    daemon.setControlLink(false);
    expect(await json('status')).toMatchObject({ BackendState: 'Running', Health: [], Self: { Online: false } });
    expect(messages).toHaveLength(1);
  });
});
