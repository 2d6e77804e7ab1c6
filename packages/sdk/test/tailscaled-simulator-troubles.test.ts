import { mkdtempSync, rmSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type SimulatedPeer, TailscaledSimulator, type TailscaledSimulatorOptions } from '../src/testing/tailscaled-simulator.ts';

const node = { id: 'nBOOK', hostname: 'book', ips: ['100.64.0.1'], tailnetDomain: 'tail1.ts.net', advertisedRoutes: ['10.8.0.0/24', '10.9.0.0/24'] };
const gateway: SimulatedPeer = { id: 'nGATE', hostname: 'gate', ips: ['100.64.0.2'], maxPacketBytes: 1300 };
const signal = AbortSignal.timeout(20_000);

let folder: string;
let daemon: TailscaledSimulator;
const open: IncomingMessage[] = [];

function call(path: string, method = 'GET'): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const options = { socketPath: daemon.socketPath, method, path: `/localapi/v0/${path}`, agent: false as const };
    request({ ...options, headers: { host: 'local-tailscaled.sock' } }, (incoming) => {
      open.push(incoming);
      resolve(incoming);
    })
      .on('error', reject)
      .end();
  });
}
async function text(path: string, method?: string): Promise<readonly [number, string]> {
  const incoming = await call(path, method);
  let body = '';
  for await (const chunk of incoming.setEncoding('utf8')) body += chunk;
  return [incoming.statusCode ?? 0, body];
}
const json = async (path: string, method?: string) => JSON.parse((await text(path, method))[1]);

async function start(options: Partial<TailscaledSimulatorOptions> = {}): Promise<void> {
  await daemon?.stop();
  daemon = new TailscaledSimulator({ socketPath: join(folder, 's.sock'), node, peers: [gateway], ...options });
  await daemon.start({ signal });
}
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bifrost-sim-'));
  await start();
});
afterEach(async () => {
  for (const incoming of open.splice(0)) incoming.destroy();
  await daemon.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe('TailscaledSimulator: a daemon that hangs', () => {
  it('accepts and is silent, on the bus too; goes on where it stopped', async () => {
    const bus = await call('watch-ipn-bus?mask=2');
    let said = '';
    bus.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk;
    });
    await vi.waitFor(() => expect(said.split('\n')).toHaveLength(2));
    daemon.freeze();
    daemon.freeze();
    const asked = json('status');
    daemon.setBackendState('Stopped');
    const before = daemon.requests('status');
    expect(await Promise.race([asked, new Promise((resolve) => setImmediate(resolve, 'silence'))])).toBe('silence');
    expect([daemon.requests('status'), said.split('\n').length]).toEqual([before, 2]);
    daemon.thaw();
    expect((await asked).BackendState).toBe('Stopped');
    await vi.waitFor(() => expect(said).toContain('"State":4'));
    expect(daemon.requests('status')).toBe(before + 1);
  });
  it('can be killed and started meanwhile', async () => {
    daemon.freeze();
    const asked = json('status');
    asked.catch(() => {});
    await vi.waitFor(async () => {
      await daemon.stop();
      await expect(asked).rejects.toMatchObject({ code: expect.stringMatching(/ECONNRESET|ENOENT/) });
    });
    await daemon.start({ signal });
    expect((await json('status')).BackendState).toBe('Running');
  });
});

describe('TailscaledSimulator: what the daemon finds', () => {
  it('warnings carry their weight', async () => {
    daemon.setHealth(['a', { code: 'b', severity: 'high', impactsConnectivity: true }]);
    const bus = await call('watch-ipn-bus?mask=130');
    const [line] = await new Promise<[string]>((resolve) => bus.setEncoding('utf8').once('data', (chunk: string) => resolve([chunk])));
    const { Warnings } = JSON.parse(line).Health;
    expect(Warnings).toMatchObject({ a: { Severity: 'medium' }, b: { Severity: 'high', ImpactsConnectivity: true } });
    expect(Warnings.a).not.toHaveProperty('ImpactsConnectivity');
    expect((await json('status')).Health).toHaveLength(2);
  });
  it('routes of its own count once they are approved', async () => {
    expect((await json('status')).Self.AllowedIPs).toEqual(['100.64.0.1/32']);
    daemon.setNode({ ...node, approvedRoutes: ['10.9.0.0/24', '192.0.2.0/24'] });
    expect((await json('status')).Self).toMatchObject({ AllowedIPs: ['100.64.0.1/32', '10.9.0.0/24'], PrimaryRoutes: ['10.9.0.0/24'] });
    expect((await json('prefs')).AdvertiseRoutes).toEqual(node.advertisedRoutes);
    expect((await text('usermetrics'))[1]).toContain('tailscaled_advertised_routes 2\n');
    expect((await text('usermetrics'))[1]).toContain('tailscaled_approved_routes 1\n');
  });
  it('checks, dropped packets, and packets too large for the way', async () => {
    daemon.setCheck('ip-forwarding', 'it is off');
    expect(await json('check-ip-forwarding')).toEqual({ Warning: 'it is off' });
    expect(await json('check-udp-gro-forwarding')).toEqual({ Warning: '' });
    daemon.addDrops('outbound', 3);
    daemon.addDrops('outbound', 4);
    expect((await text('usermetrics'))[1]).toContain('tailscaled_outbound_dropped_packets_total{reason="error"} 7\n');
    expect((await text('usermetrics'))[1]).not.toContain('inbound_dropped_packets_total{');
    const large = call('ping?ip=100.64.0.2&type=disco&size=1301', 'POST');
    large.catch(() => {});
    expect(await json('ping?ip=100.64.0.2&type=disco&size=1300', 'POST')).toMatchObject({ Err: '' });
    daemon.relay(); // TCP cuts packets to size
    expect(await json('ping?ip=100.64.0.2&type=disco&size=60000', 'POST')).toMatchObject({ DERPRegionID: 1 });
  });
  it('a session begins with the first packet, and is told to those who ask', async () => {
    const handshake = async () => Object.values<Record<string, string>>((await json('status')).Peer)[0]?.['LastHandshake'];
    expect(await handshake()).toBe('0001-01-01T00:00:00Z');
    const bus = await call('watch-ipn-bus?mask=262144');
    let said = '';
    bus.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk;
    });
    daemon.addTraffic('nGATE', 1, 1);
    daemon.addTraffic('nGATE', 1, 1);
    await vi.waitFor(() => expect(said.match(/"PeerWireGuardState":"established"/g)).toHaveLength(1));
    expect(Date.now() - Date.parse((await handshake()) ?? '')).toBeLessThan(10_000);
  });
  it('owners are told by whois and in the status', async () => {
    daemon.setPeers([{ ...gateway, user: 'anna@acme.example' }]);
    const { UserProfile } = await json('whois?addr=100.64.0.2');
    expect(UserProfile).toMatchObject({ LoginName: 'anna@acme.example' });
    const status = await json('status');
    expect(status.User[UserProfile.ID]).toEqual(UserProfile);
    expect(Object.values(status.Peer)).toMatchObject([{ UserID: UserProfile.ID }]);
  });
});

describe('TailscaledSimulator: another build of the daemon', () => {
  it('answers 404 for what it was built without, and 400 for bus bits that it refuses', async () => {
    await start({ withoutEndpoints: ['usermetrics'], refusedBusBits: 262_144, controlUrl: 'https://control.example' });
    expect(await text('usermetrics')).toEqual([404, '404 page not found\n']);
    expect((await text('watch-ipn-bus?mask=262146'))[0]).toBe(400);
    expect((await call('watch-ipn-bus?mask=2')).statusCode).toBe(200);
    expect((await json('prefs')).ControlURL).toBe('https://control.example');
  });
});
