import type { NetworkConfiguration } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { dyingAt } from './support/dying.ts';
import { OWN_POLICY } from './support/own-policy.ts';
import { ACME, BOOK, type Opened, openWorld, World } from './support/world.ts';

const tailnetName = ACME.tailnetName;
const LESS = { blockedNetworks: ['10.99.0.0/16', '10.1.0.10/32'] };
const LESS_AGAIN = { blockedNetworks: [...LESS.blockedNetworks, '10.2.0.0/16'] };
const MORE = { allowedNetworks: ['10.0.0.0/8', '192.168.0.0/16'] };
/** Silence that is allowed, and the guard's own time: 65 s. A little less and a little more. */
const [BEFORE_MS, AFTER_MS] = [60_000, 15_000];

const stored = async (world: World) => (await world.sidecars())[0];
const devices = ({ control }: World) => control.devices().map(({ deviceId }) => deviceId);
const change = ({ manager }: World, config: Partial<NetworkConfiguration>) => manager.updateTailnet({ tailnetName, config });
const revokedAt = async (world: World) => (await world.tailnet())?.state.revoked?.networksAtMs;

/** Another manager takes over, and knows no device. */
async function forgetDevices(world: World): Promise<void> {
  await world.manager.stop();
  const sidecar = await stored(world);
  if (sidecar === undefined) return;
  await world.store.sidecars.replaceState(sidecar, { ...sidecar.state, instances: [], deviceIds: [] }, { signal: AbortSignal.timeout(5_000) });
  await world.restart();
}

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

async function attached({ replicas = 1, open = openWorld({ settings: { tenancy: 'organization' }, book: { replicas } }) } = {}): Promise<Opened> {
  const world = await open;
  await world.manager.attachSidecar(BOOK);
  await world.until(async () => world.agents.all.length === replicas && (await stored(world))?.state.phase === 'connected');
  await world.run(10_000);
  return world;
}

describe('a live guard that does not hold what is left of its tailnet', () => {
  it.each([
    ['since it does not take its order', { guardObeys: false }],
    ['since its agent is never heard again', { speaks: false }],
  ])('%s: its device is deleted when its time is over, once, and once more for the next loss', async (_, trouble) => {
    await using world = await attached();
    const before = devices(world);
    Object.assign(world.agents.one, trouble);
    await change(world, LESS);
    await world.run(BEFORE_MS);
    expect(devices(world)).toEqual(before);
    await world.run(AFTER_MS);
    expect(devices(world)).toEqual([]);
    await rejoin(world);
    const after = devices(world);
    await world.restart();
    await world.run(600_000);
    await change(world, MORE);
    await world.run(600_000);
    expect([after.length, devices(world)]).toEqual([1, after]);
    await change(world, LESS_AGAIN);
    await world.run(BEFORE_MS + AFTER_MS);
    expect(devices(world)).toEqual([]);
  });

  it('of several only those that are behind', async () => {
    await using world = await attached({ replicas: 3 });
    const [slow, ...others] = world.agents.all;
    if (slow !== undefined) slow.guardObeys = false;
    await change(world, LESS);
    await world.run(BEFORE_MS + AFTER_MS);
    expect(devices(world).sort()).toEqual(others.map(({ deviceId }) => deviceId).sort());
  });

  it('and none of one that holds it and has yet to tell which device it has', async () => {
    await using world = await attached({ replicas: 2 });
    const [slow, other] = world.agents.all;
    Object.assign(slow ?? {}, { guardObeys: false });
    Object.assign(other ?? {}, { node: { device_id: undefined } });
    await forgetDevices(world);
    await change(world, LESS);
    await world.run(30_000);
    await world.run(BEFORE_MS + AFTER_MS);
    expect(devices(world)).toEqual([other?.deviceId]);
  });

  it('in the time of the next manager, which has never heard which device is whose', async () => {
    await using world = await attached({ replicas: 2 });
    const [silent, speaking] = world.agents.all;
    Object.assign(silent ?? {}, { speaks: false });
    await change(world, LESS);
    await world.run(30_000);
    await forgetDevices(world);
    await world.run(BEFORE_MS);
    expect(devices(world)).toHaveLength(2); // it has to have its time to hear
    await world.run(AFTER_MS);
    expect(devices(world)).toEqual([speaking?.deviceId]);
  });

  it('bug: not by a manager that hears nobody: its own door may be shut; twin: once it hears somebody', async () => {
    await using world = await attached({ replicas: 2 });
    const before = devices(world);
    await change(world, LESS);
    await world.run(30_000); // all guards hold it
    const [one, other] = world.agents.all;
    for (const agent of [one, other]) Object.assign(agent ?? {}, { speaks: false });
    await world.manager.stop();
    const sidecar = await stored(world);
    const { obeyedForMs: _, ...state } = sidecar?.state ?? {}; // as a manager leaves it that knows nothing of this
    if (sidecar !== undefined)
      await world.store.sidecars.replaceState(sidecar, state as typeof sidecar.state, { signal: AbortSignal.timeout(5_000) });
    await world.restart();
    await world.run(600_000);
    expect(devices(world)).toEqual(before);
    Object.assign(one ?? {}, { speaks: true });
    await world.run(120_000);
    expect(devices(world)).toEqual([one?.deviceId]);
  });

  it('whichever call is the last of a manager: the next one deletes it, and what joins anew is left', async () => {
    let reached = 0;
    for (let at = 1; at <= 40; at += 1) {
      await using world = await attached();
      const before = devices(world);
      world.agents.one.guardObeys = false;
      await change(world, LESS);
      await world.run(BEFORE_MS);
      const manager = dyingAt(world, at);
      await world.run(2 * (BEFORE_MS + AFTER_MS));
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

describe('a live guard whose device is left', () => {
  it('one that holds it in time: also when it does not take what is gained later, or a restarted manager has yet to hear of it', async () => {
    await using world = await attached();
    const before = devices(world);
    await change(world, LESS);
    await world.run(20_000);
    world.agents.one.guardObeys = false;
    await change(world, MORE);
    await world.run(BEFORE_MS + AFTER_MS);
    expect((await stored(world))?.state.obeyedForMs).toBe(await revokedAt(world));
    await world.restart();
    await world.run(600_000);
    expect(devices(world)).toEqual(before);
    expect(world.agents.one.orders).toMatchObject([LESS, MORE]);
  });

  it('one of a pod that started after the loss: it has never had what was lost', async () => {
    await using world = await attached();
    await change(world, LESS);
    await world.run(30_000);
    world.agents.speak = false;
    await world.cluster.scale(world.book, 2);
    await world.until(() => devices(world).length === 2);
    const before = devices(world);
    await world.run(600_000);
    expect(devices(world)).toEqual(before);
  });

  it('one that was given back what it had lost', async () => {
    await using world = await attached();
    const before = devices(world);
    world.agents.one.guardObeys = false;
    await change(world, LESS);
    await world.run(30_000);
    await change(world, { blockedNetworks: ACME.config.blockedNetworks ?? [] });
    await world.run(600_000);
    expect(devices(world)).toEqual(before);
  });

  it('one of a paused tailnet, which is sent no order: it has its time when that is over', async () => {
    await using world = await attached();
    const before = devices(world);
    world.agents.one.speaks = false;
    await change(world, LESS);
    await world.run(20_000);
    await world.manager.pauseTailnet(tailnetName);
    await world.run(600_000);
    await world.manager.resumeTailnet(tailnetName);
    await world.run(20_000);
    expect(devices(world)).toEqual(before);
    world.agents.one.speaks = true;
    await world.run(600_000);
    expect(devices(world)).toEqual(before);
  });

  it.each([
    ['is not ours', false],
    ['is no longer ours when its time is over', true],
  ])('one of a tailnet whose policy %s: it would reach again at once what was lost', async (_, managePolicy) => {
    const open = async (): Promise<Opened> => {
      const world = new World();
      await world.manager.start();
      await world.addCustomer('acme-corp', { policy: OWN_POLICY });
      const book = await world.addBook();
      await world.manager.createTailnet({ ...ACME, managePolicy });
      await world.until(async () => (await world.tailnet())?.state.phase === 'active');
      return Object.assign(world, { book });
    };
    await using world = await attached({ open: open() });
    const before = devices(world);
    world.agents.one.guardObeys = false;
    await change(world, LESS);
    await world.run(20_000);
    expect((await revokedAt(world)) !== undefined).toBe(managePolicy);
    if (managePolicy) await world.manager.updateTailnet({ tailnetName, managePolicy: false });
    await world.run(600_000);
    expect(devices(world)).toEqual(before);
  });
});
