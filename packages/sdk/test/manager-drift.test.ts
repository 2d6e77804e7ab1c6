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

  it('D2: the same cause again is not fought: DRIFT_REPEATED, told once, until its window ends', async () => {
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

  it('D1: nothing is written to a workload that carries what it should, however often it is looked at', async () => {
    await using world = await connected();
    world.guard.names.length = 0;
    await world.run(600_000);
    expect(world.guard.names.filter((name) => name === 'cluster.workloads.attach')).toEqual([]);
  });
});

describe('a workload that comes to be one that cannot have a sidecar', () => {
  const edit = (world: Opened, change: Readonly<Record<string, unknown>>) =>
    world.cluster.updateWorkload(world.book, ({ spec, ...rest }) => ({ ...rest, spec: { ...spec, ...change } }));
  const unsupported = async (world: Opened): Promise<boolean> => (await stored(world))?.state.reason?.code === 'WORKLOAD_UNSUPPORTED';

  it('hostNetwork: the sidecar is taken out, told once, and is put in again when the owner takes that back', async () => {
    await using world = await connected();
    const bare = JSON.stringify((await template(world)).spec.containers);
    await edit(world, { hostNetwork: true });
    await world.until(() => unsupported(world), { limitMs: 5_000 });
    expect(JSON.stringify(await template(world))).not.toMatch(/bifrost|tailscale/);
    expect(JSON.stringify((await template(world)).spec.containers)).toBe(bare);
    const calls = world.guard.names.filter((name) => /workloads\.(attach|detach)$/.test(name)).length;
    await world.run(600_000);
    expect(world.guard.names.filter((name) => /workloads\.(attach|detach)$/.test(name))).toHaveLength(calls);
    const [sidecar] = await world.manager.listSidecars();
    expect(sidecar).toMatchObject({
      status: 'failed',
      instances: [],
      reason: { code: 'WORKLOAD_UNSUPPORTED', path: 'spec.template.spec.hostNetwork' },
    });
    expect(sidecar?.conditions).toContainEqual(expect.objectContaining({ type: 'Attached', status: 'False', reason: 'WORKLOAD_UNSUPPORTED' }));
    expect(await world.outside()).toMatchObject({ devices: 0, secrets: 1 });
    await edit(world, { hostNetwork: false });
    await world.until(async () => (await stored(world))?.state.phase === 'connected');
    expect(await isIn(world)).toBe(true);
    expect((await stored(world))?.state.reason).toBeUndefined();
    expect(world.names('sidecar:')).toEqual(['sidecar:attached', 'sidecar:failed']); // and nobody is said to have drifted
  });

  it('hostNetwork is seen to while the control plane is away', async () => {
    await using world = await connected();
    world.guard.hook = ({ name }) => (name.startsWith('controlPlane.') ? 'before' : undefined);
    await edit(world, { hostNetwork: true });
    await world.until(async () => !(await isIn(world)), { limitMs: 5_000 });
  });

  it('one that has never connected is not given up meanwhile: its deadline begins anew', async () => {
    await using world = await openWorld({ settings: { attachDeadlineMs: 60_000 } });
    world.agents.speak = false;
    await world.manager.attachSidecar(BOOK);
    await world.until(() => isIn(world));
    await edit(world, { hostNetwork: true });
    await world.run(600_000);
    expect((await stored(world))?.state).not.toHaveProperty('rolledBack');
    world.agents.speak = true;
    await edit(world, { hostNetwork: false });
    await world.until(async () => (await stored(world))?.state.phase === 'connected');
  });

  it('one of our users in a shared process namespace is told; the sidecar stays, since its book would send in clear', async () => {
    await using world = await connected();
    await edit(world, { shareProcessNamespace: true, securityContext: { runAsUser: 65_532 } });
    await world.run(30_000);
    expect(await unsupported(world)).toBe(false);
    await edit(world, { shareProcessNamespace: true, securityContext: { runAsUser: 60_931 } });
    await world.until(() => unsupported(world), { limitMs: 5_000 });
    await world.run(30_000);
    expect(await isIn(world)).toBe(true);
    await edit(world, { shareProcessNamespace: false });
    await world.until(async () => (await stored(world))?.state.phase === 'connected');
    expect((await stored(world))?.state.reason).toBeUndefined();
  });
});
