import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Collection } from '../src/ports/store.ts';
import { ACME, BOOK, openWorld, World } from './support/world.ts';

type Fate = 'once' | 'twice' | 'never';

/** A store whose hints are dropped or repeated as fate says. The first of each key is never dropped: that is what a watch promises. */
function withFates(world: World, fates: readonly Fate[]): void {
  let next = 0;
  const meddle = (collection: object): object =>
    new Proxy(collection, {
      get: (target, member) => {
        const value: unknown = Reflect.get(target, member, target);
        if (member !== 'watch') return typeof value === 'function' ? value.bind(target) : value;
        return async function* (options: { readonly signal: AbortSignal }) {
          for await (const hint of (target as Collection<unknown, unknown>).watch(options)) {
            const fate = fates[next++ % fates.length];
            if (fate !== 'never') yield hint;
            if (fate === 'twice') yield hint;
          }
        };
      },
    });
  const { tailnets, sidecars } = world.store;
  Object.assign(world.store, { tailnets: meddle(tailnets), sidecars: meddle(sidecars) });
}

async function life(world: World): Promise<unknown> {
  await world.manager.start();
  await world.addCustomer('acme-corp');
  const book = await world.addBook({ replicas: 2 });
  await world.manager.createTailnet(ACME);
  await world.until(async () => (await world.tailnet())?.state.phase === 'active');
  const { sidecarId } = await world.manager.attachSidecar(BOOK);
  await world.until(async () => (await world.sidecars())[0]?.state.deviceIds.length === 2);
  await world.cluster.scale(book, 1);
  await world.until(async () => (await world.sidecars())[0]?.state.deviceIds.length === 1, { limitMs: 130_000 });
  const [attached] = await world.manager.listSidecars();
  const seen = { status: attached?.status, instances: attached?.instances.length, outside: await world.outside() };
  await world.manager.detachSidecar(sidecarId);
  await world.until(async () => (await world.sidecars()).length === 0, { limitMs: 130_000 });
  await world.manager.deleteTailnet(ACME.tailnetName);
  await world.until(async () => (await world.tailnet()) === undefined, { limitMs: 130_000 });
  return { seen, outside: await world.outside(), events: [...world.names()].sort() };
}

describe('hints that are dropped or repeated', () => {
  it('lead to the same end: only reading both sides counts', async () => {
    await using plain = new World();
    const expected = await life(plain);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom<Fate>('once', 'twice', 'never'), { minLength: 1, maxLength: 12 }), async (fates) => {
        await using world = new World();
        withFates(world, fates);
        await world.restart();
        await world.manager.stop();
        world.manager = world.newManager();
        expect(await life(world)).toEqual(expected);
      }),
      { numRuns: 25 },
    );
  });

  it('of our own write to a workload ask for no further round; twin: somebody else’s change does', async () => {
    await using world = await openWorld();
    await world.cluster.scale(world.book, 0); // pods are hints of their own
    await world.run(1_000);
    world.guard.names.length = 0;
    await world.manager.attachSidecar(BOOK);
    await world.until(() => world.names('sidecar:attached').length === 1, { limitMs: 5_000 });
    await world.run(5_000);
    const rounds = () => world.guard.names.filter((name) => name === 'cluster.workloads.get').length;
    expect(rounds()).toBe(1);
    expect(world.guard.names.filter((name) => name === 'store.sidecars.get')).toHaveLength(2); // the call's check, and the round: no hint's
    await world.cluster.changeWorkload(world.book, { manager: 'owner', annotations: { 'owner.example/note': 'theirs' } });
    await world.run(5_000);
    expect(rounds()).toBe(2);
  });

  it('of one customer, whose reads hang, delay nobody else’s', async () => {
    await using world = await openWorld();
    await world.addCustomer('globex');
    await world.manager.createTailnet({
      ...ACME,
      tailnetName: 'globex',
      customerId: 'globex',
      credential: { secretName: 'bifrost-customer-globex' },
    });
    await world.until(async () => (await world.tailnet('globex'))?.state.phase === 'active');
    await world.run(5_000);
    const hanging = Promise.withResolvers<void>();
    let isFirst = true;
    world.guard.hook = async ({ name }) => {
      if (name !== 'store.tailnets.get' || !isFirst) return undefined;
      isFirst = false;
      await hanging.promise;
      return 'before';
    };
    const pause = async (tailnetName: string): Promise<void> => {
      const tailnet = await world.tailnet(tailnetName);
      if (tailnet) await world.store.tailnets.replaceSpec(tailnet, { ...tailnet.spec, paused: true }, { signal: AbortSignal.timeout(5_000) });
    };
    const isPaused = async (tailnetName: string): Promise<boolean> =>
      (await world.tailnet(tailnetName))?.state.conditions?.some(({ type }) => type === 'Paused') === true;
    await pause(ACME.tailnetName);
    await world.run(1_000);
    await pause('globex');
    await world.until(() => isPaused('globex'), { limitMs: 5_000 });
    expect(await isPaused(ACME.tailnetName)).toBe(false);
    hanging.resolve(); // the read fails: a round looks instead
    await world.until(() => isPaused(ACME.tailnetName), { limitMs: 5_000 });
  });

  it('a watch that breaks is opened again, and what went meanwhile is noticed', async () => {
    await using world = await openWorld();
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    const { sidecars } = world.store;
    const [stored] = await sidecars.list({ signal: AbortSignal.timeout(5_000) });
    // Another manager takes it away while our watch is down.
    await world.store[Symbol.asyncDispose]();
    await world.run(100);
    await sidecars.remove(stored?.key ?? '', { signal: AbortSignal.timeout(5_000) });
    const removed = await sidecars.get(stored?.key ?? '', { signal: AbortSignal.timeout(5_000) });
    if (removed) await sidecars.finalize(removed, { signal: AbortSignal.timeout(5_000) });
    await world.until(() => world.names('sidecar:detached').length === 1, { limitMs: 70_000 });
    await expect(world.manager.detachSidecar(sidecarId)).rejects.toMatchObject({ code: 'SIDECAR_NOT_FOUND' });
    await expect(world.agents.one.report()).rejects.toMatchObject({ code: 'REPORT_FORBIDDEN' });
  });
});
