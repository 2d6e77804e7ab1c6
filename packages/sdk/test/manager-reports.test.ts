import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ACME, BOOK, type Opened, openWorld } from './support/world.ts';

const TAILNET = 'acme-corp-production';
async function connectedWorld(options: Parameters<typeof openWorld>[0] = {}): Promise<Opened> {
  const world = await openWorld(options);
  await world.manager.attachSidecar(BOOK);
  await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
  return world;
}
const bytes = async ({ manager }: Opened): Promise<readonly [number, number]> => {
  const { metrics } = await manager.getNetworkStatus(TAILNET);
  return [metrics.bytesReceived, metrics.bytesSent];
};
const stateOf = async (world: Opened) => (await world.manager.listSidecars())[0]?.instances[0]?.status;

describe('signs of the agent', () => {
  it('are shown as they were last told, and go when they are over', async () => {
    await using world = await connectedWorld();
    const { one } = world.agents;
    const instance = async () => (await world.manager.listSidecars())[0]?.instances[0];
    expect(await instance()).not.toHaveProperty('signs');
    await one.report('heartbeat', { node: { signs: ['mtu', 'of-a-newer-agent'] } });
    expect(await instance()).toMatchObject({ status: 'connected', signs: ['mtu', 'of-a-newer-agent'] });
    await one.report('heartbeat');
    expect(await instance()).not.toHaveProperty('signs');
  });
});

describe('counters', () => {
  it('a new agent start adds to what was; a late report of the old start changes nothing (bug: it counted twice)', async () => {
    await using world = await connectedWorld();
    const { one } = world.agents;
    Object.assign(one, { rxBytes: 100, txBytes: 10 });
    await one.report();
    const late = one.document('heartbeat', { rx_bytes: 120, tx_bytes: 12 });
    one.restart();
    Object.assign(one, { rxBytes: 5, txBytes: 1 });
    await one.report('start');
    expect(await bytes(world)).toEqual([105, 11]);
    await world.manager.ingestReport({ token: one.pod.serviceAccountToken, document: late });
    expect(await bytes(world)).toEqual([105, 11]);
    Object.assign(one, { rxBytes: 6, txBytes: 2 });
    await one.report();
    expect(await bytes(world)).toEqual([106, 12]);
  });

  it('never go down, whatever an agent says; what a pod that is gone moved stays counted', async () => {
    await using world = await connectedWorld({ book: { replicas: 2 } });
    await world.until(() => world.agents.all.length === 2);
    for (const agent of world.agents.all) {
      Object.assign(agent, { rxBytes: 100, txBytes: 50 });
      await agent.report();
    }
    const [first] = world.agents.all;
    if (first) Object.assign(first, { rxBytes: 90, txBytes: 0 });
    await first?.report();
    expect(await bytes(world)).toEqual([200, 100]);
    await world.cluster.scale(world.book, 1);
    await world.until(() => world.names('instance:removed').length === 1);
    expect(await bytes(world)).toEqual([200, 100]);
  });

  it('reports in any order and number add up to the newest', async () => {
    await using world = await connectedWorld();
    const { one } = world.agents;
    const starts = [0, 1, 2].map((start) => {
      one.restart();
      return [1, 2, 3].map((step) => one.document('heartbeat', { rx_bytes: step * 10 ** start, tx_bytes: 0 }));
    });
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(8), { minLength: 1, maxLength: 20 }), async (order) => {
        run += 1; // every run has starts of its own: one that was followed before counts no more
        const before = (await bytes(world))[0];
        const highest = new Map<number, number>();
        let current = -1;
        const over = new Set<number>();
        for (const pick of order) {
          const [start, step] = [Math.floor(pick / 3), pick % 3];
          const document = { ...starts[start]?.[step], start_id: `${run}-${start}` };
          await world.manager.ingestReport({ token: one.pod.serviceAccountToken, document });
          if (over.has(start)) continue; // a start that another has followed counts no more
          if (current !== start && current >= 0) over.add(current);
          current = start;
          highest.set(start, Math.max(highest.get(start) ?? 0, (step + 1) * 10 ** start));
        }
        const expected = [...highest.values()].reduce((sum, value) => sum + value, 0);
        expect((await bytes(world))[0] - before).toBe(expected);
      }),
      { numRuns: 40 },
    );
  });
});

describe('connection', () => {
  it('a duplicated or reordered report changes nothing', async () => {
    await using world = await connectedWorld();
    const { one } = world.agents;
    const [older, bad] = [one.document('heartbeat'), one.document('change', { node: { usable: false } })];
    const send = (document: unknown) => world.manager.ingestReport({ token: one.pod.serviceAccountToken, document });
    await send(bad);
    const events = world.names().length;
    for (const document of [older, bad, older, bad]) await expect(send(document)).resolves.toMatchObject({ v: 1, nextHeartbeatMs: 10_000 });
    await world.run(1_000);
    expect(world.names()).toHaveLength(events);
    expect(await stateOf(world)).toBe('disconnected');
  });

  it('silence is unknown with cause agent, told once; the next word is the recovery', async () => {
    await using world = await connectedWorld();
    const { one } = world.agents;
    one.speaks = false;
    await world.until(async () => (await stateOf(world)) === 'unknown', { limitMs: 40_000 });
    await world.run(300_000);
    expect(world.names('instance:lost')).toHaveLength(1);
    expect(world.events.at(-1)).toMatchObject({ name: 'instance:lost', event: { cause: 'agent', state: 'unknown', previousState: 'connected' } });
    expect((await world.manager.getNetworkStatus(TAILNET)).connectedDevices).toBe(0);
    expect((await world.manager.getConnectionMetrics())[0]?.isConnected).toBe(false);
    one.speaks = true;
    await world.until(async () => (await stateOf(world)) === 'connected', { limitMs: 20_000 });
    expect(world.names('instance:connected')).toHaveLength(2);
    expect((await world.manager.listSidecars())[0]?.status).toBe('connected');
  });

  it('an agent that rejoined as another device leaves none behind', async () => {
    await using world = await connectedWorld();
    const { one } = world.agents;
    const [secret] = await world.cluster.secrets.list({ signal: AbortSignal.timeout(5_000) });
    const key = (await world.cluster.secrets.get(secret ?? { namespace: '', name: '' }, { signal: AbortSignal.timeout(5_000) }))?.get('authkey');
    const again = world.control.join({ authKey: key ?? '', hostname: BOOK.config.hostname });
    one.node = { device_id: again.deviceId, ips: [again.addresses[0]] };
    await one.report('change');
    await world.until(() => world.control.device(one.deviceId) === undefined);
    await world.run(1_000);
    expect((await world.sidecars())[0]?.state).toMatchObject({
      deviceIds: [again.deviceId],
      instances: [{ deviceId: again.deviceId, ipAddress: again.addresses[0] }],
    });
    expect(world.control.device(again.deviceId)).toBeDefined();
  });

  it('bug: a report that names the customer’s router as its device does not cost the customer the router', async () => {
    await using world = await connectedWorld();
    const { controlId } = world.control.tailnets()[0] ?? { controlId: '' };
    const router = world.control.addDevice({ controlId, hostname: 'router', advertiseRoutes: ['10.0.0.0/8'] });
    const { one } = world.agents;
    one.node = { device_id: router.deviceId };
    await one.report('change');
    await world.run(1_000);
    await world.cluster.scale(world.book, 0);
    await world.until(async () => (await world.sidecars())[0]?.state.deviceIds.length === 0);
    expect(world.control.device(router.deviceId)).toBeDefined();
    expect(world.control.device(one.deviceId)).toBeUndefined();
  });
});

describe('a manager that is restarted on the same store', () => {
  it('tells nothing that is no news, knows what was, and takes reports at once', async () => {
    await using world = await connectedWorld();
    const { one } = world.agents;
    const before = await world.manager.listSidecars();
    const events = world.names().length;
    await world.restart();
    await expect(one.report()).resolves.toMatchObject({ v: 1 });
    await world.run(120_000);
    expect(world.names()).toHaveLength(events);
    const [known] = await world.manager.listSidecars();
    expect(known).toMatchObject({ status: 'connected', ipAddress: before[0]?.ipAddress, instances: [{ podUid: one.pod.uid, status: 'connected' }] });
  });

  it('counts silence from the restart, also while nothing else can be reached (bug: it never noticed)', async () => {
    await using world = await connectedWorld();
    world.agents.one.speaks = false;
    await world.run(30_000);
    world.guard.hook = ({ name }) => (name.startsWith('cluster.workloads') || name.startsWith('controlPlane') ? 'before' : undefined);
    await world.restart();
    await world.run(30_000);
    expect(world.names('instance:lost')).toHaveLength(0);
    await world.run(10_000);
    expect(world.names('instance:lost')).toHaveLength(1);
  });

  it('releases what went while no manager ran', async () => {
    await using world = await connectedWorld({ book: { replicas: 2 } });
    await world.until(async () => (await world.sidecars())[0]?.state.deviceIds.length === 2);
    await world.manager.stop();
    await world.cluster.scale(world.book, 1);
    await world.restart();
    await world.until(async () => (await world.sidecars())[0]?.state.deviceIds.length === 1, { limitMs: 5_000 });
    expect(world.names('instance:removed')).toHaveLength(1);
    expect((await world.outside()).devices).toBe(1);
  });

  it('goes on with a detach, an attach and a delete that were under way', async () => {
    await using world = await connectedWorld();
    const [sidecar] = await world.manager.listSidecars();
    await world.manager.detachSidecar(sidecar?.sidecarId ?? '');
    await world.restart();
    await world.until(async () => (await world.sidecars()).length === 0);
    await world.manager.attachSidecar(BOOK);
    await world.restart();
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    await world.manager.deleteTailnet(TAILNET, { cascade: true });
    await world.restart();
    await world.until(async () => (await world.tailnet()) === undefined);
    expect(await world.outside()).toEqual({ devices: 0, keys: 0, secrets: 0, tailnets: 0 });
    expect(world.names('tailnet:deleted')).toHaveLength(1);
  });
});

describe('two managers side by side', () => {
  it('with different settings do not meet', async () => {
    await using one = await connectedWorld({ settings: { heartbeatMs: 5_000 } });
    await using other = await connectedWorld({ settings: { heartbeatMs: 20_000, silenceMs: 60_000 }, seed: 2 });
    expect(await one.agents.one.report()).toMatchObject({ nextHeartbeatMs: 5_000 });
    expect(await other.agents.one.report()).toMatchObject({ nextHeartbeatMs: 20_000 });
    await other.manager.createTailnet({ ...ACME, tailnetName: 'other' });
    const events = one.names().length;
    await other.manager.stop();
    expect(await one.manager.listTailnets()).toHaveLength(1);
    await expect(one.agents.one.report()).resolves.toBeDefined();
    expect(one.names()).toHaveLength(events);
  });
});
