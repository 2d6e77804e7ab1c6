import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { describeLocalApiAgent } from './local-api-agent-cases.ts';
import { describeLocalApiBus } from './local-api-bus-cases.ts';
import { describeLocalApiTroubles } from './local-api-trouble-cases.ts';
import { type PingJson, type StatusJson, send, type WhoIsJson, type WireAnswer, type WireRequest } from './local-api-wire.ts';

export type { WireAnswer, WireRequest } from './local-api-wire.ts';

/** What `open` gives: a daemon that has joined a tailnet with one other machine in it, which answers directly. */
export interface LocalApiUnderTest extends AsyncDisposable {
  readonly socketPath: string;
  /** The other machine: its IPv4 address in the tailnet, and its host name. */
  readonly peer: { readonly ip: string; readonly hostname: string };
  /** Gives the daemon's own machine another host name, as its owner would. */
  rename(hostname: string): Promise<void>;
  /** Lets a packet go to the peer: a ping of the daemon's own is none. */
  talk(): Promise<void>;
  /** Asks as a user who may only read. Leave it out where nobody may write. */
  readonly asReader?: (request: WireRequest) => Promise<WireAnswer>;
  /** Stops the daemon in the middle of whatever it does, until disposed: it hangs, and is not gone. */
  suspend(): Promise<AsyncDisposable>;
  /** Puts the daemon down, as `tailscale down` does, until disposed: then it is up again, as by `tailscale up`. */
  putDown(): Promise<AsyncDisposable>;
  /** Ends the daemon's connection to its control plane and lets it have no other, until disposed. Packets and relay go on. */
  cutControl(): Promise<AsyncDisposable>;
  /** Lets packets between the daemon and its peer go by the relay only, until disposed. */
  relayPeer(): Promise<AsyncDisposable>;
  /** Lets the daemon's key expire, in more than a day, until disposed: then it does not expire any more. */
  letKeyExpire(): Promise<AsyncDisposable>;
  /** The agent's program, the bundled file of `@bifrost/agent`: a real agent beside the daemon is part of the suite. */
  readonly agentProgram: string;
}
/** Opens a daemon for {@link describeLocalApi}. */
export type OpenLocalApi = () => Promise<LocalApiUnderTest>;

/** What each case of the suite works with. */
export interface LocalApiBench {
  readonly daemon: LocalApiUnderTest;
  /** One request on the wire, whatever its answer. */
  ask(path: string, more?: Omit<WireRequest, 'path'>): Promise<WireAnswer>;
  /** The answer's JSON, when it is 200. */
  json<T = unknown>(path: string, more?: Omit<WireRequest, 'path'>): Promise<T>;
}

/** The daemon's own refusals. */
const refusal = (status: number) =>
  expect.objectContaining({ status, headers: expect.objectContaining({ 'content-type': 'text/plain; charset=utf-8' }) });
const NOBODY = '100.127.255.254';
/** For what a daemon does in its own time. */
const patient = { timeout: 10_000, interval: 100 };

/**
 * What we rely on in tailscaled's LocalAPI, on the raw wire. It runs on `TailscaledSimulator` and on real daemons: where they differ, the simulator is
 * wrong. All cases run on each of them, none can be left out. The daemon is opened once for all cases, and disposed after them.
 *
 * @example
 * import { describeLocalApi, type OpenLocalApi } from '@bifrost/sdk/testing/conformance';
 * declare const openDaemon: OpenLocalApi; // yours: starts a daemon, and says how to stop it
 * describeLocalApi('my daemon', openDaemon);
 */
export function describeLocalApi(name: string, open: OpenLocalApi): void {
  describe(`LocalAPI: ${name}`, () => {
    let opened: LocalApiUnderTest | undefined;
    beforeAll(async () => {
      opened = await open();
    }, 120_000);
    afterAll(() => opened?.[Symbol.asyncDispose]());
    const bench = (): LocalApiBench => {
      const daemon = opened as LocalApiUnderTest;
      const ask: LocalApiBench['ask'] = (path, more = {}) => send(daemon.socketPath, { ...more, path });
      return {
        ...{ daemon, ask },
        async json<T>(path: string, more?: Omit<WireRequest, 'path'>) {
          const answer = await ask(path, more);
          expect(answer).toMatchObject({ status: 200, headers: { 'content-type': 'application/json' } });
          return JSON.parse(answer.body) as T;
        },
      };
    };
    door(bench);
    statusCases(bench);
    pingCases(bench);
    whoIsCases(bench);
    settingsCases(bench);
    describeLocalApiBus(bench);
    describeLocalApiAgent(bench);
    describeLocalApiTroubles(bench);
  });
}

function door(bench: () => LocalApiBench): void {
  describe('the door', () => {
    it.each([
      ['A1: a Host that is not its own', { host: 'localhost' }],
      ['A2: a Referer', { referer: 'http://x' }],
      ['A3: an Origin', { origin: 'http://x' }],
    ])('%s is refused, before anything is told', async (_, headers) => {
      const answer = await bench().ask('status', { headers });
      expect(answer).toEqual(refusal(403));
      expect([answer.body, answer.headers['tailscale-version']]).toEqual(['invalid localapi request\n', undefined]);
    });

    it('A4: every answer names version and capability, also a refusal', async () => {
      for (const path of ['status', 'nothing', 'ping']) {
        const { headers } = await bench().ask(path);
        expect(headers['tailscale-version']).toMatch(/^\d+\.\d+\.\d+/);
        expect(Number(headers['tailscale-cap'])).toBeGreaterThan(100);
      }
    });

    it('A5: an endpoint that is not there answers 404 in plain text', async () => {
      const answer = await bench().ask('nothing');
      expect(answer).toEqual(refusal(404));
      expect(answer.body).toBe('404 page not found\n');
    });
  });
}

function statusCases(bench: () => LocalApiBench): void {
  describe('status', () => {
    it('A10: tells state, itself and its peers', async () => {
      const { daemon, json } = bench();
      // Its relay it chooses once it has looked around.
      const status = await vi.waitFor(async () => {
        const now = await json<StatusJson>('status');
        expect(now.Self.Relay).not.toBe('');
        return now;
      }, patient);
      expect(status).toMatchObject({
        Version: expect.stringMatching(/^\d+\.\d+\./),
        TUN: expect.any(Boolean),
        BackendState: 'Running',
        HaveNodeKey: true,
        AuthURL: '',
        TailscaleIPs: expect.arrayContaining([expect.stringMatching(/^100\./)]),
        Health: expect.any(Array),
        CurrentTailnet: { Name: expect.any(String) },
      });
      const self = { ID: expect.any(String), NodeID: expect.any(Number), DNSName: expect.stringMatching(/\.$/), CurAddr: '', Online: true };
      expect(status.Self).toMatchObject({ ...self, Relay: expect.stringMatching(/./), TailscaleIPs: status.TailscaleIPs, InNetworkMap: true });
      const peer = Object.values(status.Peer).find(({ HostName }) => HostName === daemon.peer.hostname);
      expect(peer).toMatchObject({
        ID: expect.any(String),
        PublicKey: expect.stringMatching(/^nodekey:[0-9a-f]{64}$/),
        TailscaleIPs: expect.arrayContaining([daemon.peer.ip]),
        AllowedIPs: expect.arrayContaining([`${daemon.peer.ip}/32`]),
        RxBytes: expect.any(Number),
        TxBytes: expect.any(Number),
        Online: true,
        Active: expect.any(Boolean),
      });
      expect(Object.keys(status.Peer)).toContain(peer?.PublicKey);
    });

    it('A11: writes what Go writes: null for an empty list, the year 1 for never', async () => {
      const status = await bench().json<StatusJson>('status');
      expect([status.CertDomains, status.ExtraRecords, status.ClientVersion]).toEqual([null, null, null]);
      expect(status.Self.LastHandshake).toBe('0001-01-01T00:00:00Z');
      for (const peer of Object.values(status.Peer)) expect(peer).toMatchObject({ Addrs: null });
    });

    it('A12: without peers on request, and its own user is there all the same', async () => {
      const { json } = bench();
      const [bare, whole] = [await json<StatusJson>('status?peers=false'), await json<StatusJson>('status')];
      expect([bare.Peer, bare.Self.ID, Object.keys(bare.User)]).toEqual([null, whole.Self.ID, [String(bare.Self.UserID)]]);
    });
  });
}

function pingCases(bench: () => LocalApiBench): void {
  const ping = (query: string) => bench().ask(`ping?${query}`, { method: 'POST' });

  describe('ping', () => {
    it.each(['', '&size=1312'])('A20: a disco ping is answered by the way it took%s', async (size) => {
      const { daemon, json } = bench();
      await vi.waitFor(
        async () => {
          const answer = await json<PingJson>(`ping?ip=${daemon.peer.ip}&type=disco${size}`, { method: 'POST' });
          expect(answer).toMatchObject({ IP: daemon.peer.ip, NodeIP: daemon.peer.ip, NodeName: daemon.peer.hostname, Err: '', PeerRelay: '' });
          expect(answer).toMatchObject({ Endpoint: expect.stringMatching(/:\d+$/), DERPRegionID: 0, DERPRegionCode: '' });
          expect(answer.LatencySeconds).toBeGreaterThan(0);
        },
        patient, // the first may come back by the relay
      );
    });

    it('A21: its own address, and one that nobody has, are answers with an error in them', async () => {
      const { json } = bench();
      const [own] = (await json<StatusJson>('status?peers=false')).TailscaleIPs;
      expect(await json(`ping?ip=${own}&type=disco`, { method: 'POST' })).toMatchObject({ Err: `${own} is local Tailscale IP`, IsLocalIP: true });
      expect(await json(`ping?ip=${NOBODY}&type=disco`, { method: 'POST' })).toMatchObject({ Err: 'no matching peer', LatencySeconds: 0 });
    });

    it.each([
      ['type=disco', "missing 'ip' parameter"],
      ['ip=x&type=disco', 'invalid IP'],
      ['ip=100.64.0.1', "missing 'type' parameter"],
      ['ip=100.64.0.1&type=disco&size=x', "invalid 'size' parameter"],
      ['ip=100.64.0.1&type=TSMP&size=5', "'size' parameter is only supported with disco pings"],
      ['ip=100.64.0.1&type=disco&size=65468', "maximum value for 'size' is 65467"],
    ])('A22: %s: 400', async (query, text) => {
      const answer = await ping(query);
      expect(answer).toEqual(refusal(400));
      expect(answer.body).toBe(`${text}\n`);
    });

    it('A23: only by POST', async () => {
      expect(await bench().ask(`ping?ip=${NOBODY}&type=disco`)).toMatchObject({ status: 400, body: 'want POST\n' });
    });
  });
}

function whoIsCases(bench: () => LocalApiBench): void {
  describe('whois', () => {
    it('A30: knows a peer by address, by address and port, and by key', async () => {
      const { daemon, json } = bench();
      const byAddress = await json<WhoIsJson>(`whois?addr=${daemon.peer.ip}`);
      expect(byAddress).toMatchObject({
        Node: {
          StableID: expect.any(String),
          Name: expect.stringContaining(daemon.peer.hostname),
          Addresses: expect.arrayContaining([`${daemon.peer.ip}/32`]),
        },
        UserProfile: { ID: expect.any(Number), LoginName: expect.stringMatching(/./) },
      });
      expect(byAddress).toHaveProperty('CapMap');
      // The peer tells more of itself when it has just joined: also between two questions.
      for (const other of [`${daemon.peer.ip}:443`, byAddress.Node.Key])
        await vi.waitFor(async () => expect(await json(`whois?addr=${other}`)).toEqual(await json(`whois?addr=${daemon.peer.ip}`)), patient);
    });

    it('A31: knows itself, also by IPv6 with a port', async () => {
      const { json } = bench();
      const { Self: self } = await json<StatusJson>('status?peers=false');
      const v6 = self.TailscaleIPs.find((ip) => ip.includes(':'));
      expect(await json(`whois?addr=${encodeURIComponent(`[${v6}]:1`)}`)).toMatchObject({ Node: { StableID: self.ID } });
    });

    it.each([
      [`addr=${NOBODY}`, 404, 'no match for IP:port'],
      ['addr=x', 400, "invalid 'addr' parameter"],
      ['addr=nodekey:00', 400, "invalid nodekey in 'addr' parameter"],
      ['', 400, "missing 'addr' parameter"],
    ])('A32: %s: %i', async (query, status, text) => {
      const answer = await bench().ask(`whois?${query}`);
      expect(answer).toEqual(refusal(status));
      expect(answer.body).toBe(`${text}\n`);
    });
  });
}

function settingsCases(bench: () => LocalApiBench): void {
  describe('settings, metrics, checks', () => {
    it('A40: settings can be read, as an object or as nothing but headers', async () => {
      const { json, ask } = bench();
      const lists = {
        AdvertiseTags: null,
        AdvertiseServices: null,
        AdvertiseRoutes: expect.toSatisfy((value) => value === null || Array.isArray(value)),
      };
      expect(await json('prefs')).toMatchObject({
        ...lists,
        ControlURL: expect.any(String),
        WantRunning: true,
        LoggedOut: false,
        Hostname: expect.any(String),
      });
      expect(await ask('prefs', { method: 'HEAD' })).toMatchObject({ status: 200, body: '' });
    });

    it('A41: whoever may only read cannot change them', async () => {
      const { daemon, ask, json } = bench();
      const before = await json('prefs');
      const change = { path: 'prefs', method: 'PATCH', body: '{"Hostname":"theirs","HostnameSet":true}' };
      const answer = await (daemon.asReader ?? ((request) => ask(request.path, request)))(change);
      expect(answer).toMatchObject({ status: 403, body: 'prefs write access denied\n' });
      expect(await json('prefs')).toEqual(before);
      expect(await ask('prefs', { method: 'DELETE' })).toMatchObject({ status: 405, body: 'unsupported method\n' });
    });

    it('A42: metrics are Prometheus text, with the families that we read', async () => {
      const { status, headers, body } = await bench().ask('usermetrics');
      expect([status, headers['content-type']]).toEqual([200, 'text/plain;version=0.0.4;charset=utf-8']);
      for (const way of ['inbound', 'outbound']) {
        expect(body).toMatch(new RegExp(`^tailscaled_${way}_bytes_total\\{path="direct_ipv4"\\} \\d+$`, 'm'));
        expect(body).toContain(`# TYPE tailscaled_${way}_dropped_packets_total counter\n`);
      }
      expect(body).toMatch(/^tailscaled_outbound_dropped_packets_total\{reason="error"\} \d+$/m);
      for (const gauge of ['advertised_routes', 'approved_routes', 'home_derp_region_id'])
        expect(body).toMatch(new RegExp(`^tailscaled_${gauge} \\d+$`, 'm'));
    });

    it.each(['check-ip-forwarding', 'check-udp-gro-forwarding'])('A43: %s answers with a warning, which may be empty', async (path) => {
      expect(await bench().json(path)).toEqual({ Warning: expect.any(String) });
    });
  });
}
