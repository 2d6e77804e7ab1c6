import { describe, expect, it } from 'vitest';
import { BOOK, type Opened, openWorld } from './support/world.ts';

const TAILNET = 'acme-corp-production';
const call = { signal: AbortSignal.timeout(10_000) };

/** Between the look of a call and its removal, once, what it looked at goes and another comes under its key. */
function replacedBeforeRemoval(world: Opened, kind: 'sidecars' | 'tailnets', change: object): void {
  const collection = world.store[kind];
  let replaced = false;
  world.guard.hook = async ({ name }) => {
    if (replaced || name !== `store.${kind}.remove`) return undefined;
    replaced = true;
    const [old] = await collection.list(call);
    if (old === undefined) return undefined;
    await collection.remove(old.key, call);
    const marked = await collection.get(old.key, call);
    if (marked) await (collection.finalize as (object: typeof marked, options: typeof call) => Promise<void>)(marked, call);
    await (collection.create as (key: string, value: object, options: typeof call) => Promise<unknown>)(
      old.key,
      { spec: { ...old.spec, ...change }, state: old.state },
      call,
    );
    return undefined;
  };
}

describe('what comes under a key while its predecessor is being removed', () => {
  it('bug: is not detached: a sidecar', async () => {
    await using world = await openWorld();
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    replacedBeforeRemoval(world, 'sidecars', { sidecarId: '0b7c0e4e-3d0f-8a55-8a4b-5a1fb0c2d9e1' });
    await world.manager.detachSidecar(sidecarId);
    expect(await world.sidecars()).toMatchObject([{ deleting: false, spec: { sidecarId: '0b7c0e4e-3d0f-8a55-8a4b-5a1fb0c2d9e1' } }]);
  });

  it('bug: is not deleted, and not said to be: a tailnet', async () => {
    await using world = await openWorld();
    replacedBeforeRemoval(world, 'tailnets', { tailnetId: 'another' });
    await expect(world.manager.deleteTailnet(TAILNET)).rejects.toMatchObject({ code: 'STORE_CONFLICT', retry: 'backoff' });
    expect(await world.tailnet()).toMatchObject({ deleting: false, spec: { tailnetId: 'another' } });
  });

  it('twin: one that has only changed is removed', async () => {
    await using world = await openWorld();
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    let changed = false;
    world.guard.hook = async ({ name }) => {
      if (changed || name !== 'store.sidecars.remove') return undefined;
      changed = true;
      const [sidecar] = await world.store.sidecars.list(call);
      if (sidecar) await world.store.sidecars.replaceState(sidecar, { ...sidecar.state, phase: 'failed' }, call);
      return undefined;
    };
    await world.manager.detachSidecar(sidecarId);
    expect([changed, await world.sidecars()]).toMatchObject([true, [{ deleting: true }]]);
  });
});
