import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type AgentWorldOptions, agentWorld, buildAgent, GATEWAY, TOKEN } from './support/agent-process.ts';

const LAPTOP = { id: 'nLAP', hostname: 'laptop', ips: ['100.64.0.3'], active: false };
const folder = mkdtempSync(join(tmpdir(), 'bifrost-agent-'));
let program = '';
beforeAll(async () => {
  program = await buildAgent(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const beside = (options: Omit<AgentWorldOptions, 'program'> = {}) => agentWorld({ program, ...options });
/** Until it holds, at most ten seconds. */
const until = (holds: () => void | Promise<void>) => vi.waitFor(holds, { timeout: 10_000, interval: 10 });
const isUsable = (usable: boolean) => expect.objectContaining({ node: expect.objectContaining({ usable }) });
async function tookMs(work: () => Promise<unknown>): Promise<number> {
  const since = performance.now();
  await work();
  return performance.now() - since;
}

describe('the agent as a process: its life', () => {
  it('hands an order of the manager to its guard, and reports what the guard makes of it', async () => {
    const volume = mkdtempSync(join(folder, 'guard-'));
    const [order, holds] = [join(volume, 'order'), join(volume, 'holds')];
    writeFileSync(holds, 'aaaaaaaaaaaaaaaa\n');
    await using world = await beside({
      heartbeatMs: 60_000,
      environment: { BIFROST_GUARD_ORDER_FILE: order, BIFROST_GUARD_HOLDS_FILE: holds },
    });
    const { reports, ingest, daemon, last } = world;
    await until(() => expect(reports[0]).toMatchObject({ reason: 'start', guard: { holds: 'aaaaaaaaaaaaaaaa' } }));
    ingest.wanted.guard = { hash: 'bbbbbbbbbbbbbbbb', allowedNetworks: ['10.0.0.0/8'], blockedNetworks: [], accessPolicy: 'standard' };
    daemon.setHealth(['update-available']); // the report of this change is answered with the order
    await until(() => expect(readFileSync(order, 'utf8')).toBe('bifrost-guard 1 bbbbbbbbbbbbbbbb 2\npolicy standard\nallow 10.0.0.0/8\n'));
    writeFileSync(holds, 'bbbbbbbbbbbbbbbb\n');
    await until(() => expect(last()).toMatchObject({ reason: 'change', guard: { holds: 'bbbbbbbbbbbbbbbb' } })); // long before a heartbeat
  });

  it('reports, serves its state, and ends within a second of SIGTERM with its last word said', async () => {
    await using world = await beside();
    const { agent, reports, last, ingest } = world;
    await until(() => expect(last()).toMatchObject({ reason: 'heartbeat', node: { usable: true } }));
    expect(reports[0]).toMatchObject({ v: 1, seq: 0, reason: 'start', sidecarId: 'sidecar-1', podUid: 'pod-1' });
    await until(() => expect(reports.some(({ seq, peers }) => seq > 0 && peers[0]?.latencyMs !== undefined && seq % 6 === 0)).toBe(true));
    expect(reports.findLast(({ node }) => node.daemonVersion !== undefined)).toMatchObject({
      node: {
        reachable: true,
        backendState: 'Running',
        deviceId: 'nBOOK',
        ips: ['100.64.0.1'],
        health: [],
        homeDerp: 'sim',
        daemonVersion: '1.102.5',
      },
      peers: [{ id: 'nGATE', name: 'gate.tail1.ts.net', online: true, path: 'direct', latencyMs: 7, routes: ['10.1.0.0/24'] }],
    });
    expect(await agent.get('/healthz')).toEqual([200, '{"healthy":true}']);
    expect(await agent.get('/readyz')).toEqual([200, '{"ready":true}']);
    expect((await agent.get('/metrics'))[1]).toContain('bifrost_agent_daemon_reachable 1\n');
    expect((await agent.get('/'))[0]).toBe(404);
    agent.child.kill('SIGTERM');
    expect(await tookMs(() => agent.exit)).toBeLessThan(1000);
    expect(await agent.exit).toEqual({ code: 0, killedBy: null });
    expect(last()?.reason).toBe('stop');
    expect(reports.map(({ seq }) => seq)).toEqual(reports.map((_, index) => index));
    expect(new Set(reports.map(({ startId }) => startId)).size).toBe(1);
    expect([...ingest.authorizations]).toEqual([`Bearer ${TOKEN}`]);
    expect(JSON.stringify(agent.lines)).not.toContain('canary');
  });
  it('ends within a second of SIGTERM while everything hangs', async () => {
    const hole = createServer(() => {});
    await new Promise<void>((resolve) => hole.listen(0, '127.0.0.1', resolve));
    const reached = once(hole, 'request');
    const url = `http://127.0.0.1:${(hole.address() as AddressInfo).port}/`;
    await using world = await beside({ environment: { BIFROST_INGEST_URL: url } });
    await reached;
    world.daemon.cutLink();
    world.agent.child.kill('SIGTERM');
    expect(await tookMs(() => world.agent.exit)).toBeLessThan(1000);
    expect((await world.agent.exit).code).toBe(0);
    hole.close().closeAllConnections();
  });
  it('names all that is wrong with its environment, and no values, with exit code 2', async () => {
    const environment = { BIFROST_POD_UID: '', BIFROST_LISTEN: 'bad canary', BIFROST_INGEST_URL: 'http://canary.example/' };
    await using world = await beside({ environment });
    expect((await world.agent.exit).code).toBe(2);
    expect(world.agent.lines).toHaveLength(1);
    for (const name of Object.keys(environment)) expect(world.agent.lines[0]?.['variables']).toContain(name);
    expect(JSON.stringify(world.agent.lines)).not.toContain('canary');
  });
  it('a status address in use ends it with code 1 and a coded line', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as AddressInfo;
    await using world = await beside({ environment: { BIFROST_LISTEN: `127.0.0.1:${port}` } });
    expect((await world.agent.exit).code).toBe(1);
    expect(world.agent.lines.at(-1)).toMatchObject({ level: 'error', message: 'agent failed', code: 'INVALID_OPTIONS' });
    taken.close();
  });
});

describe.concurrent('the agent as a process: what it sees', () => {
  it('starts before the daemon and follows it through login, by hints and not by waiting', async () => {
    await using world = await beside({ daemonFirst: false, heartbeatMs: 60_000, daemon: { backendState: 'NeedsLogin' } });
    const { daemon, last, signal } = world;
    await until(() => expect(last()).toMatchObject({ reason: 'start', node: { reachable: false, backendState: 'NoState', usable: false, ips: [] } }));
    await daemon.start({ signal });
    await until(() => expect(last()?.node).toMatchObject({ reachable: true, backendState: 'NeedsLogin', ips: [] }));
    await until(() => expect(daemon.watchers).toBe(1));
    daemon.setBackendState('Starting');
    await until(() => expect(last()?.node.backendState).toBe('Starting'));
    daemon.setBackendState('Running');
    await until(() => expect(last()).toEqual(isUsable(true)));
  });
  it('daemon killed: noticed within a second; its return too, and byte counters go on', async () => {
    await using world = await beside({ heartbeatMs: 60_000 });
    const { daemon, last, agent, signal } = world;
    await until(() => expect(last()).toEqual(isUsable(true)));
    daemon.addTraffic('nGATE', 100, 50);
    daemon.setHealth(['update-available']);
    await until(() => expect(last()).toMatchObject({ rxBytes: 100, txBytes: 50, node: { health: ['update-available'] } }));
    const stoppedAtMs = Date.now();
    await daemon.stop();
    await until(() => expect(last()?.node).toMatchObject({ reachable: false, usable: false, ips: ['100.64.0.1'] }));
    expect((last()?.sentAtMs ?? Number.NaN) - stoppedAtMs).toBeLessThan(1000);
    expect(await agent.get('/readyz')).toEqual([503, '{"ready":false,"reason":"daemon"}']);
    await daemon.start({ signal });
    daemon.addTraffic('nGATE', 120, 1);
    await until(() => expect(last()).toEqual(isUsable(true)));
    expect(last()).toMatchObject({ rxBytes: 220, txBytes: 51, peers: [{ rxBytes: 220 }] });
  });
  it('link cut: the warning and one silent round are enough; relayed and direct again as packets pass', async () => {
    await using world = await beside();
    const { daemon, last, agent } = world;
    await until(() => expect(last()).toEqual(isUsable(true)));
    daemon.cutLink();
    const noticed = () => until(() => expect(last()).toMatchObject({ node: { usable: false, health: ['no-derp-connection'] } }));
    expect(await tookMs(noticed)).toBeLessThan(4000);
    expect(await agent.get('/readyz')).toEqual([503, '{"ready":false,"reason":"relay"}']);
    daemon.relay();
    await until(() => expect(last()).toMatchObject({ node: { usable: true, health: [] }, peers: [{ path: 'derp' }] }));
    daemon.restoreLink();
    await until(() => expect(last()).toMatchObject({ node: { usable: true }, peers: [{ path: 'direct' }] }));
  });
  it('a router that appears is no alarm', async () => {
    await using world = await beside({ heartbeatMs: 60_000, daemon: { peers: [] } });
    const { daemon, last, reports } = world;
    await until(() => expect(last()).toEqual(isUsable(true)));
    const before = reports.length;
    await until(() => expect(daemon.watchers).toBe(1));
    daemon.setPeers([GATEWAY]);
    await until(() => expect(last()).toMatchObject({ peers: [{ id: 'nGATE' }] }));
    expect(reports.slice(before).every(({ node }) => node.usable)).toBe(true);
  });
  it('a router that no longer answers, without a warning from the daemon: not usable after two rounds', async () => {
    await using world = await beside();
    const { daemon, last } = world;
    await until(() => expect(last()).toEqual(isUsable(true)));
    daemon.setPeers([{ ...GATEWAY, path: 'none' }]);
    await until(() => expect(last()).toMatchObject({ node: { usable: false, health: [] }, peers: [{ path: 'none' }] }));
    daemon.setPeers([GATEWAY]);
    await until(() => expect(last()).toEqual(isUsable(true)));
  });
  it('control away: said at once and usable while a peer answers, not usable once nobody does', async () => {
    await using world = await beside({ acceptRoutes: false, daemon: { peers: [LAPTOP] } });
    const { daemon, last } = world;
    await until(() => expect(last()).toEqual(isUsable(true)));
    daemon.setControlLink(false);
    await until(() => expect(last()).toMatchObject({ node: { usable: true, health: ['not-in-map-poll'], controlLinked: false }, idlePeers: 1 }));
    daemon.setPeers([{ ...LAPTOP, path: 'none' }]);
    await until(() => expect(last()).toEqual(isUsable(false)));
    daemon.setControlLink(true);
    await until(() => expect(last()).toMatchObject({ node: { usable: true, health: [] } }));
  });
  it('faults of the daemon that pass are no alarm', async () => {
    await using world = await beside({ heartbeatMs: 100 });
    const { daemon, reports, last } = world;
    await until(() => expect(last()).toEqual(isUsable(true)));
    const before = reports.length;
    daemon.failNext({ kind: 'error', endpoint: 'ping' });
    for (const kind of ['reset', 'garbage', 'error'] as const) {
      daemon.failNext({ kind, endpoint: 'status' });
      await until(() => expect(daemon.pendingFaults).toBe(0));
      const struck = reports.length;
      await until(() => expect(reports.length).toBeGreaterThan(struck + 2)); // the second try of that read is over: each fault meets another read
    }
    expect(reports.slice(before).every(({ node }) => node.usable)).toBe(true);
    for (let count = 0; count < 2; count += 1) daemon.failNext({ kind: 'garbage', endpoint: 'status' });
    await until(() => expect(reports.some(({ node }) => !node.reachable)).toBe(true));
    await until(() => expect(last()).toEqual(isUsable(true)));
  });
});
