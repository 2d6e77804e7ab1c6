import { BifrostError } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { ACME, BOOK, BOOK_TAG, World, type WorldOptions } from './support/world.ts';

const { tailnetName } = ACME;
const stored = async (world: World) => (await world.sidecars())[0];
const phase = async (world: World) => (await world.tailnet())?.state.phase;
const isIn = async (world: Working): Promise<boolean> => JSON.stringify(await world.cluster.readWorkload(world.book)).includes('tailscale');

type Working = Awaited<ReturnType<typeof working>>;

/** A tailnet whose policy is ours to keep, with a book in it; `degrade` lets its policy be one that cannot be read, until what it answers with is disposed. */
async function working(settings: WorldOptions['settings'] = {}) {
  const world = new World({ settings });
  await world.manager.start();
  await world.addCustomer('acme-corp');
  await world.manager.createTailnet({ ...ACME, tenancy: 'organization' });
  const book = await world.addBook();
  const { sidecarId } = await world.manager.attachSidecar(BOOK);
  await world.until(async () => (await stored(world))?.state.phase === 'connected' && (await phase(world)) === 'active');
  await world.quiet();
  const degrade = async (): Promise<Disposable> => {
    let isOver = false;
    world.guard.hook = async ({ name }) => {
      if (isOver || name !== 'controlPlane.tailnet.readPolicy') return undefined;
      throw new BifrostError({ code: 'POLICY_UNREADABLE', message: 'a section of it is null' });
    };
    await world.until(async () => (await phase(world)) === 'degraded');
    return {
      [Symbol.dispose]() {
        isOver = true;
      },
    };
  };
  return Object.assign(world, { book, sidecarId, degrade });
}

describe('bug: sidecars of a degraded tailnet are kept as ever', () => {
  it('their keys are rotated, and they work on', async () => {
    await using world = await working({ keyLifetimeSeconds: 3_600 });
    await world.degrade();
    const [before] = world.control.keys();
    await world.run(3_600_000);
    const keys = world.control.keys();
    expect(keys.map(({ keyId }) => keyId)).not.toContain(before?.keyId);
    expect(keys.length).toBeGreaterThan(0);
    expect(await phase(world)).toBe('degraded');
    expect(await stored(world)).toMatchObject({ state: { phase: 'connected' } });
    expect(world.names('sidecar:')).toEqual(['sidecar:attached']);
  });

  it('devices of pods that are gone go, drift is put right, and leftovers are told', async () => {
    await using world = await working();
    await world.degrade();
    const [device] = world.control.devices();
    await world.cluster.deletePod(world.cluster.podsOf(world.book)[0]?.uid ?? '');
    await world.until(() => !world.control.devices().some(({ deviceId }) => deviceId === device?.deviceId), { limitMs: 120_000 });
    await world.until(async () => (await stored(world))?.state.phase === 'connected');
    await world.cluster.rolloutUndo(world.book);
    expect(await isIn(world)).toBe(false);
    await world.until(() => isIn(world), { limitMs: 120_000 });
    const controlId = (await world.tailnet())?.state.controlId ?? '';
    const { deviceId } = world.control.addDevice({ controlId, hostname: 'stranger', tags: [BOOK_TAG] });
    expect(await world.manager.listLeftovers()).toEqual([{ kind: 'device', id: deviceId, place: tailnetName }]);
    expect(await phase(world)).toBe('degraded');
  });

  it('a change that does not connect is taken back, and one that does is proved', async () => {
    await using world = await working();
    await world.degrade();
    const { sidecarId } = world;
    world.agents.speak = false;
    await world.manager.updateSidecar({ sidecarId, config: { enableSsh: true }, allowRollout: true });
    await world.until(() => world.names().includes('sidecar:reverted'), { limitMs: 400_000 });
    world.agents.speak = true;
    for (const agent of world.agents.all) agent.speaks = true;
    await world.until(async () => (await stored(world))?.state.phase === 'connected');
    await world.manager.updateSidecar({ sidecarId, config: { acceptRoutes: false }, allowRollout: true });
    await world.until(async () => (await stored(world))?.spec.trial === undefined && (await stored(world))?.state.phase === 'connected');
    expect((await stored(world))?.spec.config).toMatchObject({ acceptRoutes: false, enableSsh: false });
    expect(await phase(world)).toBe('degraded');
  });

  it('twin: a book that is new waits for the policy to own its tags, and is no failure however long that takes', async () => {
    await using world = await working({ attachDeadlineMs: 60_000 });
    using degraded = await world.degrade();
    await world.addBook({ name: 'twin' });
    const twin = await world.manager.attachSidecar({ ...BOOK, bookDeploymentId: 'twin', config: { ...BOOK.config, hostname: 'twin' } });
    await world.run(600_000);
    expect(await world.manager.getSidecar(twin.sidecarId)).toMatchObject({ status: 'attaching' });
    expect(await world.manager.getSidecar(world.sidecarId)).toMatchObject({ status: 'connected' });
    expect(world.control.keys()).toHaveLength(1);
    expect(world.names().filter((name) => /failed|reverted/.test(name))).toEqual([]);
    degraded[Symbol.dispose]();
    await world.until(async () => (await world.manager.getSidecar(twin.sidecarId)).status === 'connected');
    expect(await phase(world)).toBe('active');
  });
});
