import type { ErrorCode } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { BOOK, type Opened, openWorld, type World } from './support/world.ts';

const TAILNET = 'acme-corp-production';
const NOTHING = { devices: 0, keys: 0, secrets: 0, tailnets: 0 };
const ALL = { devices: 1, keys: 1, secrets: 1 };
const MINUTE = 60_000;
const stored = async (world: World) => (await world.sidecars())[0];
const isGone = (world: World) => async () => (await world.sidecars()).length === 0;
const condition = async (world: World, wanted: string) => (await stored(world))?.state.conditions?.find(({ type }) => type === wanted);
const left = (world: World) => world.audit.records.filter(({ action }) => action === 'abandon').map(({ outcome }) => outcome);
const callsOf = (world: World, pattern: RegExp): number => world.guard.names.filter((name) => pattern.test(name)).length;
const carriesSidecar = async (world: Opened) => (await world.cluster.readWorkload(world.book)).spec.initContainers !== undefined;

async function attached(): Promise<Opened & { readonly sidecarId: string }> {
  const world = await openWorld();
  const { sidecarId } = await world.manager.attachSidecar(BOOK);
  await world.until(async () => (await stored(world))?.state.phase === 'connected');
  return Object.assign(world, { sidecarId });
}

/** Answers so to every detach of a workload. */
function refuse(world: World, refused: ErrorCode, isOver = () => false): void {
  world.guard.hook = ({ name }) => (name === 'cluster.workloads.detach' && !isOver() ? { refused } : undefined);
}

describe('a detach whose pod does not end', () => {
  it('L5: says which pod it waits for, is not attached any more, costs a few calls a minute, and ends with the pod', async () => {
    await using world = await attached();
    const [pod] = world.cluster.podsOf(world.book);
    using held = world.agents.holdPods();
    await world.manager.detachSidecar(world.sidecarId);
    await world.run(1_000);
    const waiting = { phase: 'detaching', reason: { code: 'PODS_REMAIN', message: expect.stringContaining(`: ${pod?.name}.`) } };
    expect((await stored(world))?.state).toMatchObject(waiting);
    expect(await condition(world, 'Attached')).toMatchObject({ status: 'False', reason: 'PODS_REMAIN' });
    expect(await carriesSidecar(world)).toBe(false);
    const [before] = await Promise.all([world.snapshot([world.book]), world.run(MINUTE)]);
    world.guard.names.length = 0;
    await world.run(9 * MINUTE);
    expect(callsOf(world, /workloads\.detach$/)).toBeLessThanOrEqual(18); // two a minute, the resync's included; 603 were seen
    expect(callsOf(world, /pods\.list$/)).toBeLessThanOrEqual(36);
    expect(callsOf(world, /replace|attach$|secrets\.(put|remove)$|Key$|deleteDevice$/)).toBe(0);
    expect(await world.snapshot([world.book])).toEqual(before); // the workload's version among it: it was not written again
    held[Symbol.dispose]();
    await world.until(isGone(world), { limitMs: 1_000, stepMs: 100 });
    expect(await world.outside()).toEqual(NOTHING);
    expect(left(world)).toEqual([]);
  });

  it('bug: the deletion of its tailnet, which waits for it, costs no more; its `abandon` is heard within seconds', async () => {
    await using world = await attached();
    using _held = world.agents.holdPods();
    await world.manager.deleteTailnet(TAILNET, { cascade: true });
    await world.run(MINUTE);
    world.guard.names.length = 0;
    await world.run(9 * MINUTE);
    expect(callsOf(world, /workloads\.detach$/)).toBeLessThanOrEqual(18);
    expect(await world.outside()).toMatchObject(ALL);
    const tailnet = await world.tailnet();
    // As with kubectl: of the tailnet alone.
    if (tailnet) await world.store.tailnets.replaceSpec(tailnet, { ...tailnet.spec, abandon: true }, { signal: AbortSignal.timeout(5_000) });
    await world.until(async () => (await world.tailnet()) === undefined, { limitMs: 15_000 });
    expect([await world.outside(), left(world)]).toEqual([NOTHING, ['PODS_REMAIN']]);
  });

  it('with `abandon` is left with it after a minute; keys, devices and Secret go, and that is recorded once', async () => {
    await using world = await attached();
    using _held = world.agents.holdPods();
    await world.manager.detachSidecar(world.sidecarId, { abandon: true });
    await world.run(50_000);
    expect([await world.outside(), left(world)]).toMatchObject([ALL, []]);
    await world.until(isGone(world), { limitMs: 20_000 });
    expect(await world.outside()).toEqual(NOTHING);
    const record = { action: 'abandon', subject: world.sidecarId, outcome: 'PODS_REMAIN', customerId: 'acme-corp', actor: 'manager' };
    expect(world.audit.records.filter(({ action }) => action === 'abandon')).toEqual([expect.objectContaining(record)]);
    expect(world.logger.lines).toContainEqual(
      expect.objectContaining({ fields: expect.objectContaining({ code: 'PODS_REMAIN', reason: expect.stringContaining('gone: ') }) }),
    );
  });

  it('its twin: a pod that ends within the minute is waited for, and nothing is left', async () => {
    await using world = await attached();
    using held = world.agents.holdPods();
    await world.manager.detachSidecar(world.sidecarId, { abandon: true });
    await world.run(50_000);
    held[Symbol.dispose]();
    await world.until(isGone(world), { limitMs: 1_000, stepMs: 100 });
    expect([await world.outside(), left(world)]).toEqual([NOTHING, []]);
  });

  it('names three pods, and how many more there are', async () => {
    await using world = await openWorld({ book: { replicas: 5 } });
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    await world.until(() => world.agents.all.length === 5 && world.cluster.podsOf(world.book).every(({ phase }) => phase === 'Running'));
    using _held = world.agents.holdPods();
    await world.manager.detachSidecar(sidecarId);
    await world.run(1_000);
    const names = world.cluster
      .podsOf(world.book)
      .filter(({ labels }) => 'bifrost.dev/sidecar-id' in labels)
      .map(({ name }) => name);
    const message = `Waits until pods that have the sidecar are gone: ${names.toSorted().slice(0, 3).join(', ')} and 2 more.`;
    expect((await stored(world))?.state.reason).toEqual({ code: 'PODS_REMAIN', message });
  });

  it('bug: a failed attach that is taken back keeps its own reason meanwhile, and is not attached any more', async () => {
    await using world = await openWorld();
    world.agents.speak = false;
    await world.manager.attachSidecar(BOOK);
    await world.until(() => world.agents.all.length === 1);
    using held = world.agents.holdPods();
    await world.run(10 * MINUTE);
    expect((await stored(world))?.state).toMatchObject({ phase: 'failed', reason: { code: 'ATTACH_TIMEOUT' } });
    expect(await condition(world, 'Attached')).toMatchObject({ status: 'False', reason: 'ATTACH_TIMEOUT' });
    expect(await world.outside()).toMatchObject(ALL);
    held[Symbol.dispose]();
    await world.until(async () => (await stored(world))?.state.keys.length === 0, { limitMs: 1_000, stepMs: 100 });
    expect(await world.outside()).toEqual(NOTHING);
  });

  it('bug: what a failed attach waited for says nothing of a later detach of the same book', async () => {
    await using world = await openWorld();
    world.agents.speak = false;
    await world.manager.attachSidecar(BOOK);
    await world.until(() => world.agents.all.length === 1);
    using held = world.agents.holdPods();
    await world.until(async () => (await stored(world))?.state.applied === false);
    world.agents.speak = true;
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await stored(world))?.state.phase === 'connected');
    await world.run(10 * MINUTE);
    await world.manager.detachSidecar(sidecarId, { abandon: true });
    await world.run(50_000);
    held[Symbol.dispose]();
    await world.until(isGone(world), { limitMs: 1_000, stepMs: 100 });
    expect([await world.outside(), left(world)]).toEqual([NOTHING, []]);
  });

  it('goes at once when `abandon` is said after it has waited for longer', async () => {
    await using world = await attached();
    using _held = world.agents.holdPods();
    await world.manager.detachSidecar(world.sidecarId);
    await world.run(5 * MINUTE);
    await world.manager.detachSidecar(world.sidecarId, { abandon: true });
    await world.until(isGone(world), { limitMs: 1_000, stepMs: 100 });
    expect([await world.outside(), left(world)]).toEqual([NOTHING, ['PODS_REMAIN']]);
  });

  it('the control plane has a minute of its own after that, and each is recorded once', async () => {
    await using world = await attached();
    using _held = world.agents.holdPods();
    world.guard.hook = ({ name }) => (name.startsWith('controlPlane.tailnet.') ? 'before' : undefined);
    await world.manager.detachSidecar(world.sidecarId, { abandon: true });
    await world.run(110_000);
    expect([(await stored(world))?.state.reason?.code, left(world)]).toEqual(['CONTROL_UNAVAILABLE', ['PODS_REMAIN']]);
    await world.until(isGone(world), { limitMs: 3 * MINUTE });
    expect(left(world)).toEqual(['PODS_REMAIN', 'CONTROL_UNAVAILABLE']);
  });
});

describe('a detach that the cluster refuses', () => {
  const refusals = ['CLUSTER_REJECTED', 'CLUSTER_DENIED', 'POD_SECURITY_FORBIDDEN', 'FIELD_CONFLICT'] as const;

  it.each(refusals)('%s: says what the cluster said, is still attached, and waits', async (code) => {
    await using world = await attached();
    refuse(world, code);
    await world.manager.detachSidecar(world.sidecarId);
    await world.run(10 * MINUTE);
    expect((await stored(world))?.state).toMatchObject({ phase: 'detaching', reason: { code, message: 'injected refusal' } });
    expect(await condition(world, 'Attached')).toMatchObject({ status: 'True' });
    expect([await world.outside(), left(world)]).toMatchObject([ALL, []]);
  });

  it.each(refusals)('%s: with `abandon` the sidecar is left in the template after a minute, and all else goes', async (code) => {
    await using world = await attached();
    refuse(world, code);
    await world.manager.detachSidecar(world.sidecarId, { abandon: true });
    await world.run(50_000);
    expect((await stored(world))?.state.reason).toMatchObject({ code, message: 'injected refusal' });
    expect(await world.outside()).toMatchObject(ALL);
    await world.until(isGone(world), { limitMs: 20_000 });
    expect([await world.outside(), left(world)]).toEqual([NOTHING, [code]]);
    expect(await carriesSidecar(world)).toBe(true);
  });

  it('its twin: a refusal that passes within the minute leaves nothing', async () => {
    await using world = await attached();
    const untilMs = world.clock.nowMs() + 30_000;
    refuse(world, 'CLUSTER_REJECTED', () => world.clock.nowMs() > untilMs);
    await world.manager.detachSidecar(world.sidecarId, { abandon: true });
    await world.until(isGone(world), { limitMs: 2 * MINUTE });
    expect([await world.outside(), left(world), await carriesSidecar(world)]).toEqual([NOTHING, [], false]);
  });

  it.each(['CLUSTER_UNAVAILABLE', 'CLUSTER_CONFLICT'] as const)(
    'its twin: %s is no refusal: nothing is left, however long it lasts',
    async (code) => {
      await using world = await attached();
      let isOver = false;
      refuse(world, code, () => isOver);
      await world.manager.detachSidecar(world.sidecarId, { abandon: true });
      await world.run(10 * MINUTE);
      expect([await world.outside(), left(world)]).toMatchObject([ALL, []]);
      isOver = true;
      await world.until(isGone(world), { limitMs: 2 * MINUTE });
      expect([await world.outside(), left(world), await carriesSidecar(world)]).toEqual([NOTHING, [], false]);
    },
  );
});

it('bug: without pods, and with a control plane that does not answer, a detach is not attached any more either', async () => {
  await using world = await attached();
  await world.cluster.scale(world.book, 0);
  await world.run(1_000);
  world.guard.hook = ({ name }) => (name.startsWith('controlPlane.tailnet.') ? 'before' : undefined);
  await world.manager.detachSidecar(world.sidecarId);
  await world.run(10_000);
  expect(await condition(world, 'Attached')).toMatchObject({ status: 'False', reason: 'CONTROL_UNAVAILABLE' });
});
