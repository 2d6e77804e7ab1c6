import { describe, expect, it, vi } from 'vitest';
import type { LocalApiBench } from './local-api.ts';
import { agentBeside } from './local-api-agent.ts';
import type { PrefsJson, StatusJson, WhoIsJson } from './local-api-wire.ts';

const soon = { timeout: 20_000, interval: 50 };

/** The agent's own adapter, as the built agent runs it: what it reports is what the wire says. */
export function describeLocalApiAgent(bench: () => LocalApiBench): void {
  describe('an agent beside it', () => {
    it('A60: reports what the daemon says of itself and of a peer in use', async () => {
      const { daemon, json } = bench();
      await daemon.talk();
      await using agent = await agentBeside(daemon.agentProgram, daemon.socketPath);
      const [status, prefs, { Node: peer, UserProfile: owner }] = [
        await json<StatusJson>('status'),
        await json<PrefsJson>('prefs'),
        await json<WhoIsJson>(`whois?addr=${daemon.peer.ip}`),
      ];
      const routes: readonly string[] = prefs.AdvertiseRoutes ?? [];
      const approved = routes.filter((route) => status.Self.AllowedIPs.includes(route));
      await vi.waitFor(() => {
        const report = agent.reports.findLast(({ node }) => node.daemonVersion !== undefined);
        expect(report?.node).toMatchObject({
          reachable: true,
          backendState: status.BackendState,
          deviceId: status.Self.ID,
          ips: status.TailscaleIPs,
          homeDerp: status.Self.Relay,
          daemonVersion: status.Version.slice(0, 64),
          controlLinked: true,
          ...(routes.length === 0 ? {} : { advertisedRoutes: routes, approvedRoutes: approved }),
        });
        expect((report?.peers.length ?? 0) + (report?.idlePeers ?? 0)).toBe(Object.keys(status.Peer).length);
        expect(report?.peers.find(({ id }) => id === peer.StableID)).toMatchObject({
          name: peer.Name.replace(/\.$/, ''),
          online: true,
          path: 'direct',
          latencyMs: expect.any(Number),
          lastHandshakeAtMs: expect.any(Number),
          ...(peer.Tags ? { tags: peer.Tags } : { user: owner.LoginName }),
        });
      }, soon);
    });

    it('A61: finds it usable, not wedged, and on the best bus that it offers', async () => {
      const { daemon } = bench();
      await using agent = await agentBeside(daemon.agentProgram, daemon.socketPath);
      await vi.waitFor(() => expect(agent.reports.at(-1)?.node.usable).toBe(true), soon);
      expect(await agent.get('/daemon')).toBe('ok');
      await vi.waitFor(async () => {
        const metrics = await agent.get('/metrics');
        expect(metrics).toMatch(/^bifrost_agent_bus_mask \d{6}$/m);
        expect(metrics).toContain('bifrost_agent_daemon_error_drops_total{direction="outbound"}');
      }, soon);
    });

    it('A62: calls it wedged when it hangs, and well when it goes on', async () => {
      const { daemon } = bench();
      await using agent = await agentBeside(daemon.agentProgram, daemon.socketPath);
      await vi.waitFor(() => expect(agent.reports.at(-1)?.node.usable).toBe(true), soon);
      {
        await using _hanging = await daemon.suspend();
        await vi.waitFor(async () => expect(await agent.get('/daemon')).toBe('wedged'), soon);
        const isTold = { reachable: false, signs: expect.arrayContaining(['daemon-wedged']) };
        await vi.waitFor(() => expect(agent.reports.at(-1)?.node).toMatchObject(isTold), soon);
      }
      await vi.waitFor(async () => expect(await agent.get('/daemon')).toBe('ok'), soon);
      await vi.waitFor(() => expect(agent.reports.at(-1)?.node.usable).toBe(true), soon);
    }, 60_000);
  });
}
