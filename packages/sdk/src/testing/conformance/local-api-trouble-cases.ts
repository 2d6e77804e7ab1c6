import type { ReportV1 } from '@bifrost/types/core';
import { describe, expect, it, vi } from 'vitest';
import { type Assessment, assess, DEFAULT_THRESHOLDS } from '../../domain/connectivity.ts';
import type { LocalApiBench } from './local-api.ts';
import { type AgentBeside, agentBeside } from './local-api-agent.ts';
import { followBus, type NotifyJson, type PingJson, type StatusJson } from './local-api-wire.ts';

const [STATE, HEALTH] = [2, 128];
const [STOPPED, RUNNING] = [4, 6];
const soon = { timeout: 20_000, interval: 50 };

/** What the manager makes of a report that has come now. */
const judged = (report: ReportV1 | undefined): Assessment | undefined => report && assess(report, report.sentAtMs, DEFAULT_THRESHOLDS);

/** Waits until the agent's last report says so, and gives it. */
const tells = (agent: AgentBeside, node: Readonly<Record<string, unknown>>): Promise<ReportV1 | undefined> =>
  vi.waitFor(() => {
    expect(agent.reports.at(-1)?.node).toMatchObject(node);
    return agent.reports.at(-1);
  }, soon);

/** A daemon in trouble: what it says on the wire, what the agent beside it reports, and what the manager concludes. */
export function describeLocalApiTroubles(bench: () => LocalApiBench): void {
  describe('in trouble', () => {
    it('A63: put down, it says so everywhere, and the agent that nothing can be used; up again, all is as before', async () => {
      const { daemon, json } = bench();
      await using agent = await agentBeside(daemon.agentProgram, daemon.socketPath);
      await tells(agent, { usable: true });
      using bus = await followBus(daemon.socketPath, STATE | HEALTH);
      await vi.waitFor(() => expect(bus.messages[0]).toMatchObject({ State: RUNNING }), soon);
      {
        await using _down = await daemon.putDown();
        await isToldStopped(bench(), bus.messages);
        const node = { reachable: true, backendState: 'Stopped', usable: false, health: ['wantrunning-false'] };
        const report = await tells(agent, { ...node, warnings: [expect.objectContaining({ code: 'wantrunning-false', severity: 'low' })] });
        expect(judged(report)).toEqual({ fact: 'broken', cause: 'pod' });
        expect([await agent.get('/readyz'), await agent.get('/daemon')]).toEqual(['{"ready":false,"reason":"login"}', 'ok']);
      }
      await vi.waitFor(() => expect(bus.messages.findLast(({ State }) => State !== null)).toMatchObject({ State: RUNNING }), soon);
      await vi.waitFor(() => expect(bus.messages.findLast(({ Health }) => Health)).toMatchObject({ Health: { Warnings: null } }), soon);
      expect(bus.messages).toContainEqual(expect.objectContaining({ Prefs: expect.objectContaining({ WantRunning: true }) }));
      const well = { BackendState: 'Running', Health: [], Self: { Online: true } }; // it runs before it is linked again
      await vi.waitFor(async () => expect(await json('status')).toMatchObject(well), soon);
      expect(judged(await tells(agent, { usable: true, backendState: 'Running', health: [] }))).toEqual({ fact: 'healthy' });
    }, 60_000);

    it('A64: without its control plane, it says so in its status, on the bus nothing; peers answer, and the agent tells it', async () => {
      const { daemon, json } = bench();
      const { ip } = daemon.peer;
      await using agent = await agentBeside(daemon.agentProgram, daemon.socketPath);
      await tells(agent, { usable: true, controlLinked: true });
      using bus = await followBus(daemon.socketPath, HEALTH);
      {
        await using _cut = await daemon.cutControl();
        const offline = { BackendState: 'Running', Health: [], Self: { Online: false } };
        await vi.waitFor(async () => expect(await json('status?peers=false')).toMatchObject(offline), soon);
        const report = await tells(agent, { usable: true, controlLinked: false, health: ['not-in-map-poll'] });
        expect(judged(report)).toEqual({ fact: 'impaired', cause: 'control-plane' });
        expect(report?.node).not.toHaveProperty('warnings'); // the daemon's own comes nine minutes later
        expect(await json<PingJson>(`ping?ip=${ip}&type=disco`, { method: 'POST' })).toMatchObject({ Err: '', NodeIP: ip });
        expect(bus.messages.filter(({ Health, State }) => Health || State)).toEqual([]);
      }
      await vi.waitFor(async () => expect(await json('status?peers=false')).toMatchObject({ Self: { Online: true } }), soon);
      expect(judged(await tells(agent, { usable: true, controlLinked: true, health: [] }))).toEqual({ fact: 'healthy' });
    }, 60_000);

    relayCase(bench);

    it('A66: says when its key expires, and so does the agent; no word of it when it does not', async () => {
      const { daemon, json } = bench();
      const own = () => json<StatusJson>('status?peers=false').then(({ Self: self }) => self);
      await using agent = await agentBeside(daemon.agentProgram, daemon.socketPath);
      await tells(agent, { usable: true });
      using bus = await followBus(daemon.socketPath, 0);
      expect(await own()).not.toHaveProperty('KeyExpiry');
      {
        await using _expiring = await daemon.letKeyExpire();
        const at = await vi.waitFor(async () => (await own()).KeyExpiry ?? expect.unreachable('its key does not expire'), soon);
        expect(at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
        await vi.waitFor(
          () => expect(bus.messages).toContainEqual(expect.objectContaining({ SelfChange: expect.objectContaining({ KeyExpiry: at }) })),
          soon,
        );
        const atMs = Date.parse(at);
        const report = await tells(agent, { usable: true, keyExpiresAtMs: atMs });
        expect([atMs - 86_400_000 - 1, atMs - 86_400_000 + 1].map((nowMs) => report && assess(report, nowMs, DEFAULT_THRESHOLDS).cause)).toEqual([
          undefined,
          'key',
        ]);
      }
      await vi.waitFor(async () => expect(await own()).not.toHaveProperty('KeyExpiry'), soon);
      await vi.waitFor(() => expect(agent.reports.at(-1)?.node).not.toHaveProperty('keyExpiresAtMs'), soon);
    }, 60_000);
  });
}

/** Bus, status, settings and ping of a daemon that was put down. */
async function isToldStopped({ daemon, json }: LocalApiBench, messages: readonly NotifyJson[]): Promise<void> {
  await vi.waitFor(() => {
    expect(messages).toContainEqual(expect.objectContaining({ State: STOPPED }));
    expect(messages).toContainEqual(expect.objectContaining({ Prefs: expect.objectContaining({ WantRunning: false }) }));
    const warning = { WarnableCode: 'wantrunning-false', Severity: 'low', Text: 'Tailscale is stopped.', BrokenSince: expect.any(String) };
    expect(messages.findLast(({ Health }) => Health)?.Health?.Warnings).toEqual({ 'wantrunning-false': expect.objectContaining(warning) });
  }, soon);
  expect(messages.findLast(({ Health }) => Health)?.Health?.Warnings?.['wantrunning-false']).not.toHaveProperty('ImpactsConnectivity');
  const stopped = { BackendState: 'Stopped', HaveNodeKey: true, Health: ['Tailscale is stopped.'], Self: { Online: false } };
  await vi.waitFor(async () => {
    const status = await json<StatusJson>('status');
    expect(status).toMatchObject(stopped); // it is told before its link to control has ended
    expect(status.Self.TailscaleIPs).toEqual(status.TailscaleIPs); // what it knows stays
    expect(Object.values(status.Peer).find(({ HostName }) => HostName === daemon.peer.hostname)).toMatchObject({ Online: true, CurAddr: '' });
  }, soon);
  expect(await json('prefs')).toMatchObject({ WantRunning: false, LoggedOut: false });
  const { ip } = daemon.peer;
  expect(await json(`ping?ip=${ip}&type=disco`, { method: 'POST' })).toMatchObject({ IP: ip, NodeIP: '', Err: 'local tailscaled stopped' });
}

function relayCase(bench: () => LocalApiBench): void {
  const soon = { timeout: 30_000, interval: 100 }; // it trusts a way that worked for some seconds more

  it('A65: reaches its peer by the relay when no direct way is left; the agent tells the way, and counts the changes', async () => {
    const { daemon, json } = bench();
    const { ip, hostname } = daemon.peer;
    await daemon.talk();
    await using agent = await agentBeside(daemon.agentProgram, daemon.socketPath);
    const ping = () => json<PingJson>(`ping?ip=${ip}&type=disco`, { method: 'POST' });
    const peer = async () => Object.values((await json<StatusJson>('status')).Peer).find(({ HostName }) => HostName === hostname);
    const told = () => agent.reports.at(-1)?.peers.find(({ name }) => name.startsWith(`${hostname}.`));
    const isDirect = async () => {
      expect(await peer()).toMatchObject({ CurAddr: expect.stringMatching(/:\d+$/) });
      expect(told()).toMatchObject({ path: 'direct' });
      expect(await ping()).toMatchObject({ Err: '', Endpoint: expect.stringMatching(/:\d+$/), DERPRegionID: 0, DERPRegionCode: '' }); // last: it may hang
    };
    await vi.waitFor(isDirect, soon);
    const before = told()?.pathChanges ?? 0;
    {
      await using _relayed = await daemon.relayPeer();
      await vi.waitFor(async () => {
        const relay = expect.stringMatching(/./);
        expect(await peer()).toMatchObject({ CurAddr: '', PeerRelay: '', Relay: relay, Online: true });
        expect(told()).toMatchObject({ path: 'derp', online: true, latencyMs: expect.any(Number), pathChanges: before + 1 });
        expect(await ping()).toMatchObject({ Err: '', Endpoint: '', PeerRelay: '', DERPRegionCode: (await peer())?.Relay });
      }, soon);
      expect(agent.reports.at(-1)?.node).toMatchObject({ usable: true, health: [] });
    }
    await vi.waitFor(isDirect, soon);
    expect(told()).toMatchObject({ pathChanges: before + 2 });
  }, 90_000);
}
