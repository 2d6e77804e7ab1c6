import { describe, expect, it } from 'vitest';
import { BOOK, type Opened, openWorld } from './support/world.ts';

const WINDOW_MS = 600_000;
const stored = async (world: Opened) => (await world.sidecars())[0];
const template = (world: Opened) => world.cluster.readWorkload(world.book);
const isIn = async (world: Opened): Promise<boolean> =>
  (await template(world)).spec.initContainers?.some(({ name }) => name === 'tailscale') === true;
const drifts = (world: Opened) => world.events.filter(({ name }) => name === 'sidecar:drifted').map(({ event }) => event);

async function connected(): Promise<Opened> {
  const world = await openWorld({ settings: { driftWindowMs: WINDOW_MS } });
  await world.manager.attachSidecar(BOOK);
  await world.until(async () => (await stored(world))?.state.phase === 'connected');
  return world;
}

describe('drift', () => {
  it('rollout undo is put right, and told once; who only takes away leaves no trace, so nobody is named', async () => {
    await using world = await connected();
    await world.cluster.rolloutUndo(world.book);
    expect(await isIn(world)).toBe(false);
    await world.until(() => isIn(world), { limitMs: 5_000 });
    await world.until(async () => (await stored(world))?.state.phase === 'connected');
    expect(drifts(world)).toEqual([expect.objectContaining({ manager: 'unknown', repaired: true })]);
    expect((await stored(world))?.state.repairs).toEqual([{ manager: 'unknown', atMs: expect.any(Number) }]);
  });

  it('an image that somebody put in ours is taken back, by force within our items only', async () => {
    await using world = await connected();
    const initContainers = [{ name: 'tailscale', image: 'elsewhere:latest' }];
    await world.cluster.changeWorkload(world.book, { manager: 'argocd', initContainers });
    await world.until(async () => !JSON.stringify(await template(world)).includes('elsewhere'), { limitMs: 5_000 });
    expect(drifts(world)).toEqual([expect.objectContaining({ manager: 'argocd', repaired: true })]);
  });

  it('the same cause again is not fought: DRIFT_REPEATED, told once, until its window ends', async () => {
    await using world = await connected();
    const undo = () =>
      world.cluster.updateWorkload(
        world.book,
        ({ metadata, spec }) => ({ metadata: { labels: metadata?.labels ?? {} }, spec: { ...spec, initContainers: [] } }),
        'rival',
      );
    await undo();
    await world.until(() => isIn(world), { limitMs: 5_000 });
    await undo();
    await world.until(async () => (await stored(world))?.state.reason?.code === 'DRIFT_REPEATED');
    const calls = world.guard.calls;
    await world.run(WINDOW_MS / 4);
    expect(await isIn(world)).toBe(false);
    expect(world.guard.calls - calls).toBeLessThan(100);
    expect(drifts(world).map((event) => 'repaired' in event && event.repaired)).toEqual([true, false]);
    expect((await world.manager.listSidecars())[0]?.conditions).toContainEqual(
      expect.objectContaining({ type: 'Attached', status: 'False', reason: 'DRIFT_REPEATED' }),
    );
    await world.until(() => isIn(world), { limitMs: WINDOW_MS });
    expect((await stored(world))?.state.reason).toBeUndefined();
  });

  it('repairSidecar puts it right at once; another cause is its own', async () => {
    await using world = await connected();
    let turn = 0;
    const strip = (manager: string) => {
      turn += 1;
      const annotations = { 'example.com/turn': `${turn}` }; // who only takes away leaves no trace of a name
      return world.cluster.updateWorkload(
        world.book,
        ({ spec }) => ({ metadata: { annotations }, spec: { ...spec, initContainers: [], volumes: [] } }),
        manager,
      );
    };
    await strip('rival');
    await world.until(() => isIn(world), { limitMs: 5_000 });
    await strip('other');
    await world.until(() => isIn(world), { limitMs: 5_000 });
    await strip('rival');
    await world.until(async () => (await stored(world))?.state.reason?.code === 'DRIFT_REPEATED');
    const [sidecar] = await world.manager.listSidecars();
    await world.manager.repairSidecar(sidecar?.sidecarId ?? '');
    await world.until(() => isIn(world), { limitMs: 5_000 });
    expect(drifts(world)).toHaveLength(4);
  });

  it('an init container that the owner adds later comes after ours: the form changes to prepend', async () => {
    await using world = await connected();
    await world.cluster.updateWorkload(world.book, ({ metadata, spec }) => ({
      ...(metadata && { metadata }),
      spec: { ...spec, initContainers: [{ name: 'own', image: 'own' }, ...(spec.initContainers ?? [])] },
    }));
    await world.until(async () => (await template(world)).spec.initContainers?.at(-1)?.name === 'own', { limitMs: 5_000 });
    expect((await stored(world))?.spec.form).toBe('prepend');
    const [sidecar] = await world.manager.listSidecars();
    await world.manager.detachSidecar(sidecar?.sidecarId ?? '');
    await world.until(async () => (await world.sidecars()).length === 0);
    expect((await template(world)).spec.initContainers).toEqual([{ name: 'own', image: 'own' }]);
  });

  it('nothing is written to a workload that carries what it should, however often it is looked at', async () => {
    await using world = await connected();
    world.guard.names.length = 0;
    await world.run(600_000);
    expect(world.guard.names.filter((name) => name === 'cluster.workloads.attach')).toEqual([]);
  });
});
