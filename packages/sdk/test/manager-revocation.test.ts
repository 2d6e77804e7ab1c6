import type { NetworkConfiguration } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { dyingAt } from './support/dying.ts';
import { withOldGuards } from './support/old-guard.ts';
import { restrictedWorld } from './support/userspace.ts';
import { BOOK, type Opened, openWorld, type World } from './support/world.ts';

const tailnetName = 'acme-corp-production';
const LESS = { blockedNetworks: ['10.99.0.0/16', '10.1.0.10/32'] };
const MORE = { allowedNetworks: ['10.0.0.0/8', '192.168.0.0/16'] };
const stored = async (world: World) => (await world.sidecars())[0];
const devices = ({ control }: World) => control.devices().map(({ deviceId }) => deviceId);
const change = (world: World, config: Partial<NetworkConfiguration>, allowRollout = true) =>
  world.manager.updateTailnet({ tailnetName, config, allowRollout });
/** As the pod does: it joins anew with the key that it has. */
async function rejoin(world: World): Promise<void> {
  const call = { signal: AbortSignal.timeout(5_000) };
  const secret = (await world.cluster.secrets.list(call)).find(({ namespace }) => namespace === 'acme-corp');
  const authKey = secret && (await world.cluster.secrets.get(secret, call))?.get('authkey');
  if (authKey === undefined) return;
  const device = world.control.join({ authKey, hostname: BOOK.config.hostname, advertiseRoutes: [] });
  world.agents.one.node = { device_id: device.deviceId, ips: [device.addresses[0]] };
  await world.run(30_000);
}

async function attached(open: Promise<Opened> = openWorld({ settings: { tenancy: 'organization' } })): Promise<Opened> {
  const world = await open;
  await world.manager.attachSidecar(BOOK);
  await world.until(async () => (await stored(world))?.state.phase === 'connected');
  await world.run(10_000);
  return world;
}
const settings = { networkPolicyEnforced: true, tenancy: 'organization' } as const;
const inUserspace = (): Promise<Opened> => attached(restrictedWorld({ settings }));
async function withOldGuard(): Promise<Opened> {
  const world = await attached();
  await withOldGuards(world);
  return world;
}
/** Its creator owns its fields: no rollout replaces its pods. */
async function asInjected(world: Opened): Promise<Opened> {
  const sidecar = await stored(world);
  if (sidecar !== undefined)
    await world.store.sidecars.replaceSpec(sidecar, { ...sidecar.spec, mode: 'inject' }, { signal: AbortSignal.timeout(5_000) });
  await world.run(10_000);
  return world;
}

describe('access that is taken away', () => {
  it('is cut by a live guard, in the same pod with the same device', async () => {
    await using world = await attached();
    const before = devices(world);
    await change(world, LESS, false);
    await world.run(60_000);
    expect(world.agents.one.orders).toMatchObject([LESS]);
    expect(devices(world)).toEqual(before);
    expect((await stored(world))?.state).not.toHaveProperty('cutForMs');
  });

  it.each([
    ['in userspace mode, injected', async () => asInjected(await inUserspace())],
    ['with a guard of an older fragment, injected', async () => asInjected(await withOldGuard())],
  ])('%s: the device is deleted, once for each loss and for no gain, and joins anew', async (_, open) => {
    await using world = await open();
    const [pods, before] = [world.cluster.podsOf(world.book), devices(world)];
    await change(world, LESS);
    await world.until(() => devices(world).length === 0, { limitMs: 5_000 });
    await rejoin(world);
    expect(devices(world)).toHaveLength(1);
    expect(devices(world)).not.toEqual(before);
    await world.restart();
    await world.run(600_000);
    await change(world, MORE);
    await world.run(60_000);
    expect(devices(world)).toHaveLength(1);
    expect(world.cluster.podsOf(world.book).map(({ uid }) => uid)).toEqual(pods.map(({ uid }) => uid));
    await change(world, { allowedNetworks: ['10.0.0.0/8'] });
    await world.until(() => devices(world).length === 0, { limitMs: 5_000 });
  });

  it('the tailnet’s own devices, which no guard keeps out: every form joins anew', async () => {
    await using world = await attached();
    await change(world, { accessPolicy: 'standard' });
    await world.run(30_000);
    expect(devices(world)).toHaveLength(1);
    await change(world, { accessPolicy: 'restrictive' });
    await world.until(() => devices(world).length === 0, { limitMs: 5_000 });
    await rejoin(world);
    await world.run(60_000);
    expect(devices(world)).toHaveLength(1);
  });

  it('where a rollout replaces the pods, that cuts, and what the new ones joined as is left', async () => {
    await using world = await inUserspace();
    const before = devices(world);
    using held = world.agents.holdPods();
    world.agents.speak = false;
    await change(world, LESS);
    await world.run(30_000);
    expect(devices(world)).toEqual(expect.arrayContaining(before)); // until its successor has proved itself
    for (const agent of world.agents.all) agent.speaks = true;
    held[Symbol.dispose]();
    await world.until(() => world.names().includes('upgrade:finished'), { limitMs: 60_000 });
    await world.until(() => !devices(world).some((deviceId) => before.includes(deviceId)));
    const after = devices(world);
    expect(after).toHaveLength(1);
    expect(after).not.toEqual(before);
    await world.run(120_000);
    expect(devices(world)).toEqual(after);
  });

  it('where that rollout is taken back, nobody waits for it any more', async () => {
    await using world = await withOldGuard();
    const before = devices(world);
    world.agents.speak = false;
    await change(world, LESS);
    await world.until(() => world.names().includes('upgrade:halted'), { limitMs: 1_200_000 });
    world.agents.speak = true;
    await world.run(120_000);
    expect((await stored(world))?.state.cutForMs).toBe((await world.tailnet())?.state.revoked?.networksAtMs);
    expect(devices(world).filter((deviceId) => before.includes(deviceId))).toEqual([]);
  });

  it('in a tailnet whose policy is not ours nothing is deleted: it would be reached again at once', async () => {
    await using world = await asInjected(await attached(restrictedWorld()));
    const before = devices(world);
    for (const config of [LESS, { accessPolicy: 'standard' }, { accessPolicy: 'restrictive' }] as const) {
      await change(world, config);
      await world.run(30_000);
    }
    expect(devices(world)).toEqual(before);
    expect((await world.tailnet())?.state).not.toHaveProperty('revoked');
  });

  it('a sidecar that was attached after the loss has lost nothing', async () => {
    await using world = await openWorld({ settings: { tenancy: 'organization' } });
    await change(world, { accessPolicy: 'standard' });
    await world.run(10_000);
    await change(world, { accessPolicy: 'restrictive' });
    await world.run(10_000);
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await stored(world))?.state.phase === 'connected');
    const before = devices(world);
    await world.run(120_000);
    expect(devices(world)).toEqual(before);
  });

  it('is cut by the next manager, whichever call is the last of this one', async () => {
    let reached = 0;
    for (let at = 1; at <= 40; at += 1) {
      await using world = await asInjected(await inUserspace());
      const before = devices(world);
      const manager = dyingAt(world, at);
      await change(world, LESS).catch(async () => {
        await world.run(2_000);
        await change(world, LESS);
      });
      await world.run(30_000);
      world.guard.hook = () => undefined;
      expect([at, devices(world).filter((deviceId) => before.includes(deviceId))]).toEqual([at, []]);
      await rejoin(world);
      await world.run(120_000);
      expect([at, devices(world).length]).toEqual([at, 1]);
      if (!manager.died) break;
      reached = at;
    }
    expect(reached).toBeGreaterThan(5);
  });
});
