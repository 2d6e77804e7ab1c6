import { describe, expect, it } from 'vitest';
import { BOOK, type Opened, openWorld } from './support/world.ts';

const DEADLINE_MS = 60_000;
const stored = async (world: Opened) => (await world.sidecars())[0];
const is = (world: Opened, phase: string) => async () => (await stored(world))?.state.phase === phase;

/** An attach whose pods never get a usable connection. */
async function failing(): Promise<Opened> {
  const world = await openWorld({ settings: { attachDeadlineMs: DEADLINE_MS } });
  world.agents.speak = false;
  await world.manager.attachSidecar(BOOK);
  await world.until(() => world.agents.all.length === 1);
  const { one } = world.agents;
  one.node = { usable: false, backend_state: 'NeedsLogin' };
  one.speaks = true;
  await one.report('change');
  return world;
}

describe('an attach that does not connect before its deadline', () => {
  it('L1: is taken back: the workload is as it was, nothing is left outside, and the status says why', async () => {
    await using world = await failing();
    const { template } = await world.cluster.workloads.find(BOOK.bookDeploymentId, { signal: AbortSignal.timeout(5_000) });
    expect(template.spec.initContainers).toHaveLength(3);
    await world.until(async () => (await stored(world))?.state.rolledBack === true && (await world.outside()).secrets === 0, { limitMs: 90_000 });
    await world.quiet();
    expect((await world.cluster.readWorkload(world.book)).spec.initContainers).toBeUndefined();
    expect(await world.outside()).toEqual({ devices: 0, keys: 0, secrets: 0, tailnets: 0 });
    const [sidecar] = await world.manager.listSidecars();
    expect(sidecar).toMatchObject({ status: 'failed', instances: [], reason: { code: 'ATTACH_TIMEOUT', message: expect.stringContaining('key') } });
    expect(sidecar?.conditions).toContainEqual(expect.objectContaining({ type: 'Attached', status: 'False', reason: 'ATTACH_TIMEOUT' }));
    expect(world.names('sidecar:')).toEqual(['sidecar:attached', 'sidecar:failed', 'sidecar:reverted']);
    await world.run(600_000);
    expect(world.names('sidecar:')).toHaveLength(3);
    expect((await world.cluster.readWorkload(world.book)).spec.initContainers).toBeUndefined();
  });

  it('the same call tries anew', async () => {
    await using world = await failing();
    await world.until(async () => (await stored(world))?.state.applied === undefined && (await stored(world))?.state.rolledBack === true);
    world.agents.speak = true;
    expect(await world.manager.attachSidecar(BOOK)).toMatchObject({ status: 'attaching', created: true });
    expect(await world.manager.attachSidecar(BOOK)).toMatchObject({ created: false });
    await world.until(is(world, 'connected'));
    expect(await world.outside()).toEqual({ devices: 1, keys: 1, secrets: 1, tailnets: 0 });
    expect((await stored(world))?.state).not.toHaveProperty('rolledBack');
  });

  it('the same call with another configuration is refused until then, and accepted afterwards', async () => {
    await using world = await failing();
    await world.until(async () => (await stored(world))?.state.rolledBack === true);
    const other = { ...BOOK, config: { ...BOOK.config, enableSsh: true } };
    await expect(world.manager.attachSidecar(other)).rejects.toMatchObject({ code: 'SIDECAR_EXISTS' });
    const [sidecar] = await world.manager.listSidecars();
    await world.manager.detachSidecar(sidecar?.sidecarId ?? '');
    await world.until(async () => (await world.sidecars()).length === 0);
    world.agents.speak = true;
    await world.manager.attachSidecar(other);
    await world.until(is(world, 'connected'));
  });

  it.each(['before', 'after'] as const)('goes on where it was when the manager ends %s any call of it', async (side) => {
    const counted = await takenBackWith(() => undefined);
    for (let at = 1; at <= counted; at += 1) {
      await takenBackWith((world, number) => {
        if (number !== at) return undefined;
        if (side === 'after') return () => void world.restart();
        void world.restart();
        return 'before';
      });
    }
  });
});

/** Takes back while `trouble` strikes; answers with the number of calls that it took. */
async function takenBackWith(trouble: (world: Opened, number: number) => 'before' | (() => void) | undefined): Promise<number> {
  await using world = await failing();
  await world.clock.advance(DEADLINE_MS / 2);
  const before = world.guard.calls;
  world.guard.hook = ({ number }) => trouble(world, number - before);
  await world.until(async () => (await stored(world))?.state.rolledBack === true && (await stored(world))?.state.applied === undefined);
  const calls = world.guard.calls - before;
  world.guard.hook = () => undefined;
  await world.quiet();
  expect(await world.outside()).toEqual({ devices: 0, keys: 0, secrets: 0, tailnets: 0 });
  expect((await world.cluster.readWorkload(world.book)).spec.initContainers).toBeUndefined();
  return calls;
}

describe('an attachment that has worked', () => {
  it('L2: is never taken back, however long it is gone', async () => {
    await using world = await openWorld({ settings: { attachDeadlineMs: DEADLINE_MS } });
    await world.manager.attachSidecar(BOOK);
    await world.until(is(world, 'connected'));
    world.agents.one.node = { usable: false, backend_state: 'NeedsLogin' };
    await world.run(10 * DEADLINE_MS);
    expect((await stored(world))?.state).toMatchObject({ phase: 'disconnected', applied: true, everConnected: true });
    expect((await world.cluster.readWorkload(world.book)).spec.initContainers).toHaveLength(3);
  });

  it('L3: time without pods does not count', async () => {
    await using world = await openWorld({ book: { replicas: 0 }, settings: { attachDeadlineMs: DEADLINE_MS } });
    await world.manager.attachSidecar(BOOK);
    await world.run(10 * DEADLINE_MS);
    expect((await stored(world))?.state.phase).toBe('attaching');
    await world.cluster.scale(world.book, 1);
    await world.until(is(world, 'connected'));
  });
});
