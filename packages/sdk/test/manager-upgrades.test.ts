import { describe, expect, it } from 'vitest';
import { IMAGES, openWorld, refusal, type World } from './support/world.ts';

const TAILNET = 'acme-corp-production';
const NEWER = { images: { ...IMAGES, tailscale: `tailscale@sha256:${'9'.repeat(64)}` } };
const names = ['a', 'b', 'c', 'd', 'e'];
const imageOf = async (world: World, name: string): Promise<string> => {
  const [sidecar] = (await world.sidecars()).filter(({ spec }) => spec.workload.name === name);
  const template = sidecar && (await world.cluster.readWorkload(sidecar.spec.workload));
  return template?.spec.initContainers?.find((container) => container.name === 'tailscale')?.image ?? '';
};
const upgraded = async (world: World): Promise<readonly string[]> => {
  const images = await Promise.all(names.map(async (name) => [name, await imageOf(world, name)] as const));
  return images.filter(([, image]) => image === NEWER.images.tailscale).map(([name]) => name);
};
const allConnected = async (world: World): Promise<boolean> => (await world.sidecars()).every(({ state }) => state.phase === 'connected');

/** Five connected books, and then a manager of a newer SDK. */
async function withNewerSdk(): Promise<World> {
  const world = await openWorld({ book: { replicas: 0 } });
  for (const name of names) {
    await world.addBook({ name });
    await world.manager.attachSidecar({ bookDeploymentId: name, tailnetName: TAILNET, config: { hostname: name } });
  }
  await world.until(() => allConnected(world));
  await world.restart(NEWER);
  return world;
}

describe('a newer SDK', () => {
  it('U1: alone restarts no book, however long it runs', async () => {
    await using world = await withNewerSdk();
    const pods = world.agents.all.map(({ pod }) => pod.uid);
    world.guard.names.length = 0;
    await world.run(600_000);
    expect(world.agents.all.map(({ pod }) => pod.uid)).toEqual(pods);
    expect(world.guard.names.filter((name) => name === 'cluster.workloads.attach')).toEqual([]);
    expect(await upgraded(world)).toEqual([]);
  });

  it('says before whose pods an upgrade replaces, and what differs in them', async () => {
    await using world = await withNewerSdk();
    const plan = await world.manager.planUpgrade({ tailnetName: TAILNET });
    expect(plan.rollouts.map(({ bookDeploymentId, changed }) => [bookDeploymentId, changed])).toEqual(
      names.map((name) => [name, ['bifrost-guard', 'tailscale']]),
    );
    expect(await upgraded(world)).toEqual([]);
  });

  it('U3: upgrades in waves: the next begins when the last has proved itself', async () => {
    await using world = await withNewerSdk();
    const { upgradeId, total } = await world.manager.upgradeSidecars({ tailnetName: TAILNET, waveSize: 2 });
    expect(total).toBe(5);
    expect((await world.manager.getTailnet(TAILNET)).upgrade, 'none before it counts').toMatchObject({ upgradeId, finished: false });
    let most = 0;
    await world.until(
      async () => {
        most = Math.max(most, (await world.sidecars()).filter(({ spec }) => spec.trial !== undefined).length);
        return world.names().includes('upgrade:finished');
      },
      { stepMs: 5 },
    );
    expect(most).toBe(2);
    expect(await upgraded(world)).toEqual(names);
    expect(world.names('sidecar:updated')).toHaveLength(5);
    expect((await world.manager.getTailnet(TAILNET)).upgrade).toEqual({ upgradeId, total: 5, done: 5, finished: true });
    expect(await world.outside()).toMatchObject({ devices: 5, keys: 5 });
  });

  it('U4: a wave that does not connect is rolled back and halts the rest', async () => {
    await using world = await withNewerSdk();
    world.agents.speak = false;
    await world.manager.upgradeSidecars({ tailnetName: TAILNET, waveSize: 2, trialMs: 60_000 });
    await world.until(() => world.names().includes('upgrade:halted'), { limitMs: 120_000 });
    world.agents.speak = true;
    for (const agent of world.agents.all) agent.speaks = true;
    await world.until(() => allConnected(world));
    await world.run(600_000);
    expect(await upgraded(world)).toEqual([]);
    expect((await world.manager.getTailnet(TAILNET)).upgrade).toMatchObject({ done: 0, haltedBy: { code: 'UPGRADE_ROLLED_BACK' } });
    const halted = expect.objectContaining({ type: 'Upgraded', status: 'False', reason: 'UPGRADE_HALTED' });
    expect((await world.manager.getTailnet(TAILNET)).conditions).toContainEqual(halted);
    expect((await world.sidecars()).filter(({ spec }) => spec.upgradeId !== undefined)).toHaveLength(2);
    await world.manager.upgradeSidecars({ tailnetName: TAILNET, waveSize: 5 });
    await world.until(async () => (await upgraded(world)).length === 5 && (await allConnected(world)));
  });

  it('bug: does not ask without end for one whose workload is gone and which cannot be released', async () => {
    await using world = await withNewerSdk();
    world.guard.hook = ({ name }) => {
      if (name === 'store.sidecars.remove') return 'before';
      return name === 'cluster.workloads.get' ? { old: undefined } : undefined;
    };
    await world.manager.upgradeSidecars({ tailnetName: TAILNET, waveSize: 1 });
    world.guard.names.length = 0;
    await world.run(60_000);
    expect(world.guard.names.filter((name) => name.endsWith('describe')).length).toBeLessThan(40);
  });

  it('U6: goes on where it was when the manager ends in the middle', async () => {
    await using world = await withNewerSdk();
    await world.manager.upgradeSidecars({ tailnetName: TAILNET, waveSize: 1 });
    for (let done = 1; done < 5; done += 1) {
      await world.until(async () => (await upgraded(world)).length > done, { stepMs: 100 });
      await world.restart(NEWER);
    }
    await world.until(async () => (await world.tailnet())?.state.upgrade?.finished === true);
    expect(await upgraded(world)).toEqual(names);
  });

  it('U5: one that did not work before is no reason to halt', async () => {
    await using world = await withNewerSdk();
    const broken = world.agents.all.find(({ pod }) => pod.workload.name === 'a');
    if (broken !== undefined) broken.node = { usable: false };
    await world.until(async () => (await world.sidecars()).some(({ state }) => state.phase === 'disconnected'));
    world.agents.speak = false;
    await world.manager.upgradeSidecars({ tailnetName: TAILNET, waveSize: 1, trialMs: 30_000 });
    await world.until(async () => (await upgraded(world)).length === 2, { limitMs: 60_000, stepMs: 1_000 });
    expect(world.names()).not.toContain('upgrade:halted');
    expect(await imageOf(world, 'a')).toBe(NEWER.images.tailscale);
  });

  it('nothing to do is done at once; an unknown tailnet is refused', async () => {
    await using world = await openWorld();
    await world.manager.upgradeSidecars({ tailnetName: TAILNET });
    await world.until(() => world.names().includes('upgrade:finished'), { limitMs: 5_000 });
    expect(await refusal(world.manager.upgradeSidecars({ tailnetName: 'nobody' }))).toMatchObject({ code: 'TAILNET_NOT_FOUND' });
    expect(await refusal(world.manager.upgradeSidecars({ tailnetName: TAILNET, waveSize: 0 }))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      issues: [{ path: 'waveSize' }],
    });
  });
});
