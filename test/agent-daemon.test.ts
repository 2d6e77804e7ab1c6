import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type AgentWorldOptions, agentWorld, buildAgent, GATEWAY } from './support/agent-process.ts';

const NODE = { id: 'nBOOK', hostname: 'book', ips: ['100.64.0.1'], tailnetDomain: 'tail1.ts.net' };
const LAPTOP = { id: 'nLAP', hostname: 'laptop', ips: ['100.64.0.3'], user: 'anna@acme.example' };
const folder = mkdtempSync(join(tmpdir(), 'bifrost-agent-'));
let program = '';
beforeAll(async () => {
  program = await buildAgent(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type World = Awaited<ReturnType<typeof agentWorld>>;
const beside = (options: Omit<AgentWorldOptions, 'program'> = {}) => agentWorld({ program, ...options });
const until = (holds: () => void | Promise<void>, timeout = 14_000) => vi.waitFor(holds, { timeout, interval: 20 });
const metrics = async ({ agent }: World): Promise<string> => (await agent.get('/metrics'))[1];
const verdict = ({ agent }: World) => agent.get('/daemon');
/** A report that says everything: brief heartbeats leave out what changes seldom. */
const whole = ({ reports }: World) => reports.findLast(({ node }) => node.daemonVersion !== undefined);

describe.concurrent('the agent tells what tailscaled knows', () => {
  it('routes approved or not, key expiry, warnings with their weight, owners, handshakes, path changes: in reports and in /metrics', async () => {
    const node = { ...NODE, keyExpiry: '2030-01-01T00:00:00Z', advertisedRoutes: ['10.8.0.0/24', '10.9.0.0/24'], approvedRoutes: ['10.9.0.0/24'] };
    const peers = [{ ...GATEWAY, tags: ['tag:gateway'] }, LAPTOP, { id: 'nIDLE', hostname: 'idle', ips: ['100.64.0.9'], active: false }];
    await using world = await beside({ daemon: { node, peers } });
    const { daemon } = world;
    await until(() => expect(whole(world)?.peers.some(({ id, tags }) => id === 'nGATE' && tags !== undefined)).toBe(true));
    daemon.setHealth([{ code: 'no-udp4-bind', severity: 'high', impactsConnectivity: true }, 'update-available']);
    daemon.addTraffic('nGATE', 10, 10);
    daemon.relay();
    await until(() =>
      expect(whole(world)).toMatchObject({
        node: {
          controlLinked: true,
          homeDerp: 'sim',
          keyExpiresAtMs: Date.parse('2030-01-01'),
          health: ['no-udp4-bind', 'update-available'],
          warnings: [
            { code: 'no-udp4-bind', severity: 'high', impactsConnectivity: true, sinceMs: expect.any(Number) },
            { code: 'update-available', severity: 'medium' },
          ],
          advertisedRoutes: ['10.8.0.0/24', '10.9.0.0/24'],
          approvedRoutes: ['10.9.0.0/24'],
        },
        peers: [
          {
            id: 'nGATE',
            path: 'derp',
            tags: ['tag:gateway'],
            lastHandshakeAtMs: expect.any(Number),
            pathChanges: 1,
            pathChangedAtMs: expect.any(Number),
          },
          { id: 'nLAP', user: 'anna@acme.example' },
        ],
        idlePeers: 1,
      }),
    );
    const text = await metrics(world);
    for (const line of [
      'control_linked 1',
      'key_expiry_timestamp_seconds 1893456000',
      'home_derp{region="sim"} 1',
      'health_warning{code="no-udp4-bind",severity="high",impacts_connectivity="true"} 1',
      'advertised_routes 2',
      'approved_routes 1',
      'peer_info{peer="gate.tail1.ts.net",user="",tags="tag:gateway"} 1',
      'peer_info{peer="laptop.tail1.ts.net",user="anna@acme.example",tags=""} 1',
      'peer_path_changes_total{peer="gate.tail1.ts.net"} 1',
      'peers_idle 1',
    ])
      expect(text).toContain(`bifrost_agent_${line}\n`);
    expect(Number(/peer_handshake_age_seconds\{peer="gate.tail1.ts.net"\} ([\d.]+)/.exec(text)?.[1])).toBeLessThan(15);
  });

  it('approval is told at once', async () => {
    const node = { ...NODE, advertisedRoutes: ['10.9.0.0/24'] };
    await using world = await beside({ heartbeatMs: 60_000, daemon: { node } });
    await until(() => expect(world.last()?.node).toMatchObject({ advertisedRoutes: ['10.9.0.0/24'], approvedRoutes: [] }));
    world.daemon.setNode({ ...node, approvedRoutes: ['10.9.0.0/24'] });
    await until(() => expect(world.last()?.node.approvedRoutes).toEqual(['10.9.0.0/24']));
  });

  it('signs: full-size packets lost, packets dropped again and again; gone when it is over', async () => {
    await using world = await beside({ heartbeatMs: 100, daemon: { peers: [{ ...GATEWAY, maxPacketBytes: 1300 }] } });
    const { daemon } = world;
    await until(async () => {
      daemon.addDrops('outbound', 20);
      expect(world.last()?.node.signs).toEqual(['mtu', 'udp-offload']);
    }, 30_000); // three lost pings take two seconds each
    expect(world.last()?.peers).toMatchObject([{ id: 'nGATE', losesLargePackets: true, path: 'direct' }]);
    expect(await metrics(world)).toContain('bifrost_agent_sign{sign="mtu"} 1\n');
    daemon.setPeers([{ ...GATEWAY, path: 'derp' }]); // by the relay there is no such thing
    await until(() => expect(world.last()?.node).not.toHaveProperty('signs'));
  }, 60_000);

  it('a daemon that refuses new bus bits is followed all the same', async () => {
    await using world = await beside({ heartbeatMs: 60_000, daemon: { refusedBusBits: 262_144 | 32_768 } });
    await until(async () => expect(await metrics(world)).toContain('bifrost_agent_bus_mask 898\n'));
    world.daemon.setBackendState('Stopped');
    await until(() => expect(world.last()?.node.backendState).toBe('Stopped'));
  });

  it('a daemon that was built without all of it still has its status reported', async () => {
    const withoutEndpoints = ['watch-ipn-bus', 'usermetrics', 'whois', 'prefs', 'check-ip-forwarding', 'check-udp-gro-forwarding', 'ping'];
    await using world = await beside({ acceptRoutes: false, daemon: { withoutEndpoints } });
    const { daemon, reports } = world;
    await until(() => expect(world.last()?.node.usable).toBe(true));
    const before = reports.length;
    await until(() => expect(reports.length).toBeGreaterThan(before + 7));
    expect(reports.slice(before).every(({ node }) => node.reachable && node.usable && node.signs === undefined)).toBe(true);
    daemon.setBackendState('Stopped'); // nobody tells; the next interval does
    await until(() => expect(world.last()?.node.backendState).toBe('Stopped'));
  });
});

describe.concurrent('a daemon that runs and does not work', () => {
  const environment = { BIFROST_WEDGED_AFTER_MS: '1000' };

  it('accepts and hangs: wedged after the stated time, ok once another daemon is there', async () => {
    await using world = await beside({ environment });
    const { daemon, last, signal } = world;
    await until(() => expect(last()?.node.usable).toBe(true));
    expect(await verdict(world)).toEqual([200, 'ok']);
    daemon.freeze();
    await until(async () => expect(await verdict(world)).toEqual([200, 'wedged']));
    await until(() => expect(last()?.node).toMatchObject({ reachable: false, usable: false, signs: ['daemon-wedged'] }));
    expect(await metrics(world)).toContain('bifrost_agent_daemon_wedged_episodes_total 1\n');
    await daemon.stop();
    await until(async () => expect(await verdict(world)).toEqual([200, 'ok']));
    await daemon.start({ signal });
    await until(() => expect(last()?.node).toMatchObject({ reachable: true, usable: true }));
  }, 30_000);

  it.each<readonly [string, (daemon: World['daemon']) => unknown]>([
    ['the network is cut', (daemon) => daemon.cutLink()],
    ['the control plane is away', (daemon) => daemon.setControlLink(false)],
    ['it was stopped by its user', (daemon) => daemon.setBackendState('Stopped')],
    ['it wants a login', (daemon) => daemon.setBackendState('NeedsLogin')],
    ['it is away', (daemon) => daemon.stop()],
    ['it answers with errors', (daemon) => Array.from({ length: 100 }, () => daemon.failNext({ kind: 'error', endpoint: 'status' })) && undefined],
  ])(
    'never when %s',
    async (_, trouble) => {
      await using world = await beside({ heartbeatMs: 200, environment });
      await until(() => expect(world.last()?.node.usable).toBe(true));
      await trouble(world.daemon);
      const since = performance.now();
      await until(async () => {
        expect(await verdict(world)).toEqual([200, 'ok']);
        expect(performance.now() - since).toBeGreaterThan(6_000); // longer than silence and statelessness may last, with the last question
      });
      expect(await metrics(world)).toContain('bifrost_agent_daemon_wedged_episodes_total 0\n');
    },
    30_000,
  );

  it.each([
    ['answers: wedged', 200, 'wedged'],
    ['is away too: it is what the daemon waits for', 503, 'ok'],
  ])(
    'without a state, while the control plane %s',
    async (_, status, expected) => {
      const asked: (string | undefined)[] = [];
      const control = createServer((incoming, response) => {
        asked.push(incoming.url);
        response.writeHead(status).end('{}');
      });
      await new Promise<void>((resolve) => control.listen(0, '127.0.0.1', resolve));
      await using _closed = { [Symbol.asyncDispose]: async () => void control.close().closeAllConnections() };
      const controlUrl = `http://127.0.0.1:${(control.address() as AddressInfo).port}`;
      await using world = await beside({ environment, daemon: { backendState: 'NoState', controlUrl } });
      await until(() => expect(asked).toEqual(['/key?v=130']));
      await until(async () => expect(await verdict(world)).toEqual([200, expected]));
    },
    30_000,
  );
});
