import { describe, expect, it } from 'vitest';
import { BOOK, openWorld, type World } from './support/world.ts';

/** Attached and quiet, and then its pods change: there is something to record. */
async function openAttached() {
  const world = await openWorld();
  await world.manager.attachSidecar(BOOK);
  await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
  await world.quiet();
  return world;
}

const countOf = ({ guard }: World, name: string): number => guard.names.filter((each) => each === name).length;
const instancesOf = async (world: World): Promise<number | undefined> => (await world.sidecars())[0]?.state.instances.length;

describe('a stored object that is answered in a version that is over', () => {
  it('costs one read a round, not the whole of it; twin: what it is now is worked with', async () => {
    await using world = await openAttached();
    const [old] = await world.sidecars();
    let isStale = true;
    world.guard.hook = ({ name }) => (isStale && name === 'store.sidecars.get' ? { old } : undefined);
    world.guard.names.length = 0;
    await world.cluster.scale(world.book, 2);
    await world.run(2_500);
    const whole = countOf(world, 'store.sidecars.replaceState');
    expect(whole).toBeGreaterThan(0);
    expect(countOf(world, 'cluster.workloads.get'), 'rounds that went on').toBeLessThanOrEqual(whole);
    expect(countOf(world, 'store.sidecars.get'), 'it was asked again').toBeGreaterThan(whole + 1);
    isStale = false;
    await world.until(async () => (await instancesOf(world)) === 2);
  });

  it('is worked with again after a few seconds: a conflict may have had another reason', async () => {
    await using world = await openAttached();
    let conflicts = 0;
    world.guard.hook = ({ name }) => (name === 'store.sidecars.replaceState' && conflicts++ === 0 ? { refused: 'STORE_CONFLICT' } : undefined);
    await world.cluster.scale(world.book, 2);
    await world.run(2_000);
    expect(conflicts).toBe(1);
    await world.until(async () => (await instancesOf(world)) === 2, { limitMs: 15_000 });
  });
});
