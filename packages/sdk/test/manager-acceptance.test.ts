import { describe, expect, it } from 'vitest';
import type { TailnetSpec } from '../src/domain/model.ts';
import { withOldGuards } from './support/old-guard.ts';
import { BOOK, openWorld, type World } from './support/world.ts';

const CALL = { signal: AbortSignal.timeout(60_000) };
const SPEC: TailnetSpec = {
  tailnetId: 'a-uid',
  customerId: 'acme-corp',
  config: { allowedNetworks: ['10.0.0.0/8'], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false },
  tags: [],
  tenancy: 'customer-owned',
  credentialSecretName: 'bifrost-customer-acme-corp',
};
/** What `kubectl apply` does: an object that no call has checked. */
const apply = (world: World, spec: Partial<TailnetSpec> = {}, key = 'by-hand') =>
  world.store.tailnets.create(key, { spec: { ...SPEC, ...spec }, state: { phase: 'creating' } }, CALL);
const condition = async (world: World, type: string, name = 'by-hand') =>
  (await world.tailnet(name))?.state.conditions?.find((each) => each.type === type);

describe('a tailnet that no call has made', () => {
  it('is accepted and becomes what a call would have made it', async () => {
    await using world = await openWorld();
    await apply(world);
    await world.until(async () => (await world.tailnet('by-hand'))?.state.phase === 'active', { limitMs: 10_000 });
    expect(await condition(world, 'Accepted')).toMatchObject({ status: 'True', reason: 'Accepted', observedGeneration: 1 });
    expect(await condition(world, 'Ready')).toMatchObject({ status: 'True' });
    expect(await world.manager.getTailnet('by-hand')).toMatchObject({ status: 'active', customerId: 'acme-corp' });
  });

  it.each([
    [{ config: { ...SPEC.config, allowedNetworks: ['10.0.0.1/8'] } }, 'by-hand', 'config.allowedNetworks.0'],
    [{ config: { ...SPEC.config, blockedNetworks: ['0.0.0.0/0'] } }, 'by-hand', 'config.blockedNetworks.0'],
    [{ tags: ['not a label'] }, 'by-hand', 'tags.0'],
    [{ customerId: 'a b' }, 'by-hand', 'customerId'],
    [{ credentialSecretName: 'Not_A_Name' }, 'by-hand', 'credential.secretName'],
    [{ credentialSecretName: 'of-somebody-else' }, 'by-hand', 'credential'],
    [{}, 'with.dots', 'tailnetName'],
  ])('%j named %s is refused like the call: Accepted=False with the code, the path, and no effect outside', async (spec, name, path) => {
    await using world = await openWorld();
    const before = world.control.tailnets().length;
    world.guard.names.length = 0;
    await apply(world, { tenancy: 'organization', credentialSecretName: 'bifrost-tailnet-a-uid', ...spec }, name);
    await world.until(async () => (await condition(world, 'Accepted', name)) !== undefined, { limitMs: 10_000 });
    expect(await condition(world, 'Accepted', name)).toMatchObject({ status: 'False', reason: 'INVALID_ARGUMENT' });
    expect((await world.tailnet(name))?.state).toMatchObject({ phase: 'failed', reason: { code: 'INVALID_ARGUMENT', path } });
    await world.run(300_000);
    expect(world.control.tailnets()).toHaveLength(before);
    expect(world.names('tailnet:')).toContain('tailnet:failed');
  });

  it('once corrected it is accepted; the condition keeps the time of its change', async () => {
    await using world = await openWorld();
    const wrong = await apply(world, { tags: ['not a label'] });
    await world.until(async () => (await condition(world, 'Accepted'))?.status === 'False');
    const refusedAt = (await condition(world, 'Accepted'))?.lastTransitionTime ?? '';
    await world.run(120_000);
    expect((await condition(world, 'Accepted'))?.lastTransitionTime).toBe(refusedAt);
    const current = await world.store.tailnets.get('by-hand', CALL);
    await world.store.tailnets.replaceSpec(current ?? wrong, SPEC, CALL);
    await world.until(async () => (await world.tailnet('by-hand'))?.state.phase === 'active', { limitMs: 10_000 });
    const accepted = await condition(world, 'Accepted');
    expect(accepted).toMatchObject({ status: 'True', observedGeneration: 2 });
    expect((accepted?.lastTransitionTime ?? '') > refusedAt).toBe(true);
  });

  it('one that was active and is edited into something refused keeps what it had; nothing new is attached to it', async () => {
    await using world = await openWorld();
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    const current = await world.tailnet();
    if (current === undefined) throw new Error('no tailnet');
    const wrong = { ...current.spec, config: { ...current.spec.config, allowedNetworks: ['nonsense'] } };
    await world.store.tailnets.replaceSpec(current, wrong, CALL);
    await world.until(async () => (await condition(world, 'Accepted', current.key))?.status === 'False');
    await world.run(120_000);
    expect((await world.tailnet())?.state.phase).toBe('active');
    expect((await world.sidecars())[0]?.state.phase).toBe('connected');
    await world.addBook({ name: 'second' });
    const second = world.manager.attachSidecar({ ...BOOK, bookDeploymentId: 'second', config: { hostname: 'second' } });
    await expect(second).rejects.toMatchObject({ code: 'TAILNET_NOT_ACCEPTED', details: { path: 'config.allowedNetworks.0' } });
  });

  it('refused or not, it can be deleted', async () => {
    await using world = await openWorld();
    await apply(world, { tags: ['not a label'] });
    await world.until(async () => (await condition(world, 'Accepted'))?.status === 'False');
    await world.manager.deleteTailnet('by-hand');
    await world.until(async () => (await world.tailnet('by-hand')) === undefined);
  });

  it('a changed configuration that older guards cannot take waits for a call, and says so; with rollout: always the sidecars follow by themselves', async () => {
    await using world = await openWorld();
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    await withOldGuards(world);
    const edit = async (change: Partial<TailnetSpec>) => {
      const current = await world.tailnet();
      if (current !== undefined) await world.store.tailnets.replaceSpec(current, { ...current.spec, ...change }, CALL);
    };
    await edit({ config: { ...SPEC.config, allowedNetworks: ['10.0.0.0/8', '172.16.0.0/12'] } });
    await world.until(async () => (await condition(world, 'RolloutPending', 'acme-corp-production'))?.status === 'True');
    expect(world.names('upgrade:')).toEqual([]);
    world.agents.speak = false;
    await edit({ rollout: 'always' });
    await world.until(async () => (await world.sidecars())[0]?.state.conditions?.some(({ type }) => type === 'OnTrial') === true);
    await world.run(20_000);
    // bug: it was over as soon as the new one was wanted.
    expect(await condition(world, 'RolloutPending', 'acme-corp-production')).toMatchObject({ status: 'True' });
    world.agents.speak = true;
    for (const agent of world.agents.all) agent.speaks = true;
    await world.until(() => world.names().includes('upgrade:finished'));
    expect(await condition(world, 'RolloutPending', 'acme-corp-production')).toBeUndefined();
  });
});
