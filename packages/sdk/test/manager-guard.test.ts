import { describe, expect, it } from 'vitest';
import { withOldGuards } from './support/old-guard.ts';
import { ACME, BOOK, type Opened, openWorld, refusal, type World } from './support/world.ts';

const TAILNET = 'acme-corp-production';
const BLOCKING = { tailnetName: TAILNET, config: { blockedNetworks: ['10.1.0.10/32'] } } as const;

async function connected(replicas = 1): Promise<Opened> {
  const world = await openWorld({ book: { replicas } });
  await world.manager.attachSidecar(BOOK);
  await world.until(async () => world.agents.all.length === replicas && (await world.sidecars())[0]?.state.phase === 'connected');
  await world.until(async () => (await conditionOf(world))?.status === 'True');
  return world;
}
const conditionOf = async ({ manager }: World) => (await manager.getTailnet(TAILNET)).conditions.find(({ type }) => type === 'GuardsCurrent');
const guardsOf = async ({ manager }: World) => (await manager.listSidecars())[0]?.instances.map(({ guard }) => guard);
const podsOf = ({ cluster, book }: Opened) => cluster.podsOf(book).map(({ uid }) => uid);

describe('a changed configuration with a guard that takes orders', () => {
  it('needs no rollout: the same pods get it in the answer to their next report, once, and it is told who holds it', async () => {
    await using world = await connected(2);
    const pods = podsOf(world);
    expect(await world.manager.planUpdateTailnet(BLOCKING)).toMatchObject({
      changes: ['config.blockedNetworks'],
      rollouts: [],
      ownedByCreator: [],
      access: { gained: ['10.99.0.0/16'], lost: ['10.1.0.10/32'], devices: 'same', books: [BOOK.bookDeploymentId] },
      outputs: [{ output: 'guard', added: ['5100 to 10.1.0.10/32 prohibit'], removed: ['5100 to 10.99.0.0/16 prohibit'] }],
    });
    await world.manager.updateTailnet(BLOCKING);
    await world.quiet();
    expect(await guardsOf(world)).toEqual(['outdated', 'outdated']);
    expect(await conditionOf(world)).toMatchObject({ status: 'False', reason: 'Outdated', message: '0 of 2 instances hold the configuration.' });
    await world.agents.beat();
    for (const { orders } of world.agents.all)
      expect(orders).toEqual([
        {
          hash: expect.stringMatching(/^[0-9a-f]{16}$/),
          allowedNetworks: ['10.0.0.0/8'],
          blockedNetworks: ['10.1.0.10/32'],
          accessPolicy: 'restrictive',
        },
      ]);
    await world.run(60_000);
    for (const { orders } of world.agents.all) expect(orders).toHaveLength(1);
    expect(await guardsOf(world)).toEqual(['current', 'current']);
    expect(await conditionOf(world)).toMatchObject({ status: 'True', reason: 'Current' });
    expect(podsOf(world)).toEqual(pods);
    expect((await world.manager.getTailnet(TAILNET)).conditions.map(({ type }) => type)).not.toContain('RolloutPending');
    expect(world.names('upgrade:')).toEqual([]);
  });

  it('bug: what an agent says while the condition is being written is told at once, either way', async () => {
    await using world = await connected();
    const { one } = world.agents;
    const whileItIsWritten = (happens: () => unknown): void => world.guard.once('store.tailnets.replaceState', happens);
    whileItIsWritten(async () => {
      await one.report(); // is told what to hold
      await one.report(); // and says that it does
    });
    await world.manager.updateTailnet(BLOCKING);
    await world.quiet();
    expect([await guardsOf(world), await conditionOf(world)]).toMatchObject([['current'], { status: 'True' }]);
    await world.manager.updateTailnet({ tailnetName: TAILNET, config: { blockedNetworks: [] } });
    await world.quiet();
    expect(await conditionOf(world)).toMatchObject({ status: 'False' });
    whileItIsWritten(() => one.report('heartbeat', { guard: { holds: '0123456789abcdef' } }));
    await world.agents.beat();
    await world.agents.beat();
    await world.quiet();
    expect([await guardsOf(world), await conditionOf(world)]).toMatchObject([['outdated'], { status: 'False' }]);
  });

  it('an order that a guard does not take is sent once, and told for as long; the one before it is sent when it is wanted again', async () => {
    await using world = await connected();
    const { one } = world.agents;
    one.guardObeys = false;
    await world.manager.updateTailnet(BLOCKING);
    await world.run(120_000);
    expect(one.orders).toHaveLength(1);
    expect(await conditionOf(world)).toMatchObject({ status: 'False', message: '0 of 1 instances hold the configuration.' });
    await world.manager.updateTailnet({ tailnetName: TAILNET, config: { blockedNetworks: ACME.config.blockedNetworks ?? [] } });
    await world.run(20_000);
    expect(one.orders.map(({ blockedNetworks }) => blockedNetworks)).toEqual([['10.1.0.10/32'], ['10.99.0.0/16']]);
    expect(await conditionOf(world)).toMatchObject({ status: 'True' });
  });

  it('nothing is sent to an agent that says nothing of a guard: it may be older, and read no long answer', async () => {
    await using world = await connected();
    const { one } = world.agents;
    await world.manager.updateTailnet(BLOCKING);
    expect(await one.report('heartbeat', { guard: undefined })).toEqual({ v: 1, nextHeartbeatMs: expect.any(Number) });
    expect(await one.report('heartbeat')).toHaveProperty('guard');
  });

  it('nothing is sent while the tailnet is paused, or the manager reads only; afterwards it is', async () => {
    await using world = await connected();
    const { one } = world.agents;
    await world.manager.pauseTailnet(TAILNET);
    await world.manager.updateTailnet(BLOCKING);
    expect(await one.report()).not.toHaveProperty('guard');
    world.manager.setReadOnly(true);
    await world.manager.resumeTailnet(TAILNET).catch(() => {});
    world.manager.setReadOnly(false);
    await world.manager.resumeTailnet(TAILNET);
    world.manager.setReadOnly(true);
    expect(await one.report()).not.toHaveProperty('guard');
    world.manager.setReadOnly(false);
    expect(await one.report()).toHaveProperty('guard');
  });

  it('what a call would refuse is never sent: the guards keep what was wanted before', async () => {
    await using world = await connected();
    const { one } = world.agents;
    const edit = async (blockedNetworks: readonly string[]): Promise<void> => {
      const tailnet = await world.tailnet();
      if (tailnet === undefined) return;
      const spec = { ...tailnet.spec, config: { ...tailnet.spec.config, blockedNetworks } };
      await world.store.tailnets.replaceSpec(tailnet, spec, { signal: AbortSignal.timeout(5_000) });
      await world.run(1_000);
    };
    await edit(['0.0.0.0/0']);
    await world.run(30_000);
    expect(one.orders).toEqual([]);
    expect(await guardsOf(world)).toEqual(['current']);
    await edit(['10.1.0.0/24']);
    await world.run(30_000);
    expect(one.orders.map(({ blockedNetworks }) => blockedNetworks)).toEqual([['10.1.0.0/24']]);
  });

  it('a manager that has just started sends what is wanted, and takes back no word of the last one before it has heard', async () => {
    await using world = await connected(2);
    const told = await conditionOf(world);
    await world.restart();
    await world.quiet();
    expect(await conditionOf(world)).toEqual(told);
    await world.run(60_000);
    expect(await conditionOf(world)).toEqual(told);
    await world.manager.updateTailnet(BLOCKING);
    await world.restart();
    await world.run(30_000);
    expect(world.agents.all.map(({ orders }) => orders.length)).toEqual([1, 1]);
    expect(await conditionOf(world)).toMatchObject({ status: 'True' });
  });

  it('a pod that starts with an older fragment is told what is wanted by the answer to its first report', async () => {
    await using world = await connected();
    await world.manager.updateTailnet(BLOCKING);
    await world.run(20_000);
    await world.cluster.scale(world.book, 2);
    await world.until(() => world.agents.all.length === 2);
    await world.run(10_000);
    expect(world.agents.all.map(({ orders }) => orders.at(-1)?.blockedNetworks)).toEqual([['10.1.0.10/32'], ['10.1.0.10/32']]);
    expect(await guardsOf(world)).toEqual(['current', 'current']);
  });

  it('costs a round of the tailnet when the first is behind and when the last has come, not one for each instance', async () => {
    await using world = await connected(12);
    await world.quiet();
    world.guard.names.length = 0;
    await world.manager.updateTailnet(BLOCKING);
    await world.run(60_000);
    expect(await guardsOf(world)).toEqual(Array.from({ length: 12 }, () => 'current'));
    expect(world.guard.names.filter((name) => name === 'store.tailnets.replaceState').length).toBeLessThanOrEqual(3);
  });
});

describe('a changed configuration with a guard of an older fragment', () => {
  it('needs a rollout as before, is sent nothing, and has no word of guards; an upgrade brings one that takes orders', async () => {
    await using world = await connected();
    await withOldGuards(world);
    expect(await guardsOf(world)).toEqual([undefined]);
    expect((await world.manager.planUpdateTailnet(BLOCKING)).rollouts).toMatchObject([{ changed: ['bifrost-guard'] }]);
    expect(await refusal(world.manager.updateTailnet(BLOCKING))).toMatchObject({ code: 'ROLLOUT_REQUIRED' });
    await world.manager.updateTailnet({ ...BLOCKING, allowRollout: true });
    await world.until(() => world.names().includes('upgrade:finished'));
    await world.until(async () => (await conditionOf(world))?.status === 'True');
    expect((await world.manager.planUpdateTailnet({ tailnetName: TAILNET, config: { blockedNetworks: [] } })).rollouts).toEqual([]);
  });
});
