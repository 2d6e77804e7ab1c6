import { describe, expect, it } from 'vitest';
import { dyingAt } from './support/dying.ts';
import { condition, connected, secretOf } from './support/quarantined.ts';
import { ACME, openWorld, type World } from './support/world.ts';

const JOB = {
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { namespace: 'acme-corp', name: 'nightly' },
  spec: { template: { metadata: {}, spec: { restartPolicy: 'Never', containers: [{ name: 'book', image: 'book' }] } } },
} as const;

describe('quarantine of what was injected', () => {
  it('holds before its workload comes: it gets no key', async () => {
    await using world = await openWorld();
    const config = { hostname: 'nightly', acceptRoutes: true };
    const { sidecarId } = await world.manager.injectSidecar({ manifest: JOB, tailnetName: ACME.tailnetName, config });
    await world.until(() => world.control.keys().length === 1);
    await world.manager.quarantineSidecar({ sidecarId });
    await world.run(30_000);
    expect(await world.outside()).toMatchObject({ devices: 0, keys: 0 });
    expect(await secretOf(world)).toEqual([]);
    expect(await condition(world, sidecarId)).toMatchObject({ status: 'True' });
    await world.manager.readmitSidecar(sidecarId);
    await world.until(() => world.control.keys().length === 1);
  });
});

describe('bug: the NetworkPolicies of what is in quarantine', () => {
  const call = () => ({ signal: AbortSignal.timeout(5_000) });
  const policies = (world: World) => world.cluster.networkPolicies.list(call());
  const one = async (world: World) => (await policies(world))[0] ?? expect.unreachable('there is no policy of ours');
  const enforce = { networkPolicies: 'enforce', resyncMs: 60_000 } as const;
  async function quarantined() {
    const world = await connected(1, enforce);
    await world.manager.quarantineSidecar({ sidecarId: world.sidecarId });
    await world.quiet();
    return world;
  }

  it.each([
    ['changed', { name: '', podSelector: {}, policyTypes: ['Egress'], ingress: [], egress: [{}] }],
    ['deleted', undefined],
  ])('one that somebody has %s is put right; twin: not while its tailnet is paused', async (_, shape) => {
    await using world = await quarantined();
    const before = await one(world);
    const pods = world.cluster.podsOf(world.book).map(({ uid }) => uid);
    await world.manager.pauseTailnet(ACME.tailnetName);
    await world.cluster.changeNetworkPolicy(before, shape);
    await world.run(121_000);
    expect(await policies(world)).not.toEqual([before]);
    await world.manager.resumeTailnet(ACME.tailnetName);
    await world.run(61_000);
    expect(await policies(world)).toEqual([before]);
    expect(world.names('sidecar:drifted')).toHaveLength(1);
    expect(world.cluster.podsOf(world.book).map(({ uid }) => uid)).toEqual(pods);
    expect(await condition(world, world.sidecarId)).toMatchObject({ status: 'True' });
  });

  it('follow the configuration, and are not taken away when they are turned off', async () => {
    await using world = await quarantined();
    await world.manager.updateTailnet({ tailnetName: ACME.tailnetName, config: { blockedNetworks: ['169.254.169.254/32'] } });
    await world.until(async () => JSON.stringify(await policies(world)).includes('169.254.169.254/32'), { limitMs: 61_000 });
    await world.restart({ networkPolicies: 'off' });
    await world.run(61_000);
    expect(await policies(world)).toHaveLength(1);
  });

  it('are written for what is quarantined before its first round', async () => {
    await using world = await openWorld({ settings: enforce });
    let isAway = true;
    world.guard.hook = ({ name }) => (isAway && name === 'cluster.networkPolicies.list' ? 'before' : undefined);
    const { sidecarId } = await world.manager.injectSidecar({ manifest: JOB, tailnetName: ACME.tailnetName, config: { hostname: 'nightly' } });
    await world.manager.quarantineSidecar({ sidecarId });
    isAway = false;
    await world.until(async () => (await policies(world)).length === 1, { limitMs: 61_000 });
    expect(world.control.keys()).toEqual([]);
  });

  it.each(['CLUSTER_DENIED', 'CLUSTER_UNAVAILABLE'] as const)(
    'that cannot be written (%s) hold up nothing of the cut, and are tried again',
    async (refused) => {
      await using world = await connected(1, enforce);
      const before = await one(world);
      await world.cluster.changeNetworkPolicy(before, undefined);
      let isRefused = true;
      world.guard.hook = ({ name }) => (isRefused && name === 'cluster.networkPolicies.put' ? { refused } : undefined);
      await world.manager.quarantineSidecar({ sidecarId: world.sidecarId });
      await world.run(121_000);
      expect(await world.outside()).toMatchObject({ devices: 0, keys: 0 });
      expect(await condition(world, world.sidecarId)).toMatchObject({ status: 'True' });
      expect(await world.manager.getSidecar(world.sidecarId)).toMatchObject({ reason: { code: 'SIDECAR_QUARANTINED' } });
      expect(world.names('sidecar:failed')).toEqual([]);
      isRefused = false;
      await world.until(async () => (await policies(world)).length === 1, { limitMs: 600_000 });
    },
  );
});

describe('quarantine and a manager that dies', () => {
  /** From the call to the end: each call outside is once the last that a manager makes. */
  it('loses nothing, whichever call is its last', async () => {
    let reached = 0;
    for (let at = 1; at <= 40; at += 1) {
      await using world = await connected(1, { resyncMs: 60_000 });
      const manager = dyingAt(world, at);
      const quarantine = () => world.manager.quarantineSidecar({ sidecarId: world.sidecarId });
      await quarantine().catch(async () => {
        await world.run(2_000);
        await quarantine();
      });
      await world.run(20_000);
      world.guard.hook = () => undefined;
      expect([at, await world.outside()]).toEqual([at, { devices: 0, keys: 0, secrets: 1, tailnets: 0 }]);
      expect(await condition(world, world.sidecarId)).toMatchObject({ status: 'True' });
      if (!manager.died) break;
      reached = at;
    }
    expect(reached).toBeGreaterThan(8);
  });
});
