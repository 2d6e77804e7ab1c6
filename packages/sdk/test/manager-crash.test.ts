import { BifrostError } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import type { PortCall, Verdict } from './support/guarded-ports.ts';
import { ACME, BOOK, refusal, World } from './support/world.ts';

type Tenancy = 'customer-owned' | 'organization';
const NOTHING = { devices: 0, keys: 0, secrets: 0, tailnets: 0 };

/** A caller that does what errors advise: the same call again after `backoff`, or after the manager was replaced. */
async function insist<T>(world: World, call: () => Promise<T>): Promise<T> {
  for (let attempt = 0; attempt < 10; attempt += 1) {
    try {
      return await call();
    } catch (error) {
      if (!BifrostError.is(error) || (error.retry !== 'backoff' && error.code !== 'MANAGER_STOPPED')) throw error;
      await world.clock.advance(1_000);
    }
  }
  throw new BifrostError({ code: 'INTERNAL', message: 'the call never went through' });
}

/** Create, attach, detach, delete; at each stop what lies outside is read back. */
async function wholeLife(world: World, tenancy: Tenancy): Promise<void> {
  const made = tenancy === 'organization' ? 1 : 0;
  const before = await world.cluster.readWorkload(await world.addBook());
  await insist(world, () => world.manager.createTailnet({ ...ACME, tenancy }));
  await world.until(async () => (await world.tailnet())?.state.phase === 'active');
  expect(await world.outside()).toEqual({ ...NOTHING, tailnets: made, secrets: made });
  const { sidecarId } = await insist(world, () => world.manager.attachSidecar(BOOK));
  await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
  await world.until(async () => world.control.keys().length === 1); // one whose reply was lost is revoked
  expect(await world.outside()).toEqual({ devices: 1, keys: 1, secrets: 1 + made, tailnets: made });
  const workload = (await world.sidecars())[0]?.spec.workload;
  await insist(world, () => world.manager.detachSidecar(sidecarId)).catch(expectGone);
  await world.until(async () => (await world.sidecars()).length === 0);
  expect(await world.outside()).toEqual({ ...NOTHING, tailnets: made, secrets: made });
  expect(workload && (await world.cluster.readWorkload(workload))).toEqual(before);
  await insist(world, () => world.manager.deleteTailnet('acme-corp-production')).catch(expectGone);
  await world.until(async () => (await world.tailnet()) === undefined);
  expect(await world.outside()).toEqual(NOTHING);
  await world.run(1_000);
}

/** A repeated call whose first try went through after all. */
function expectGone(error: unknown): void {
  if (!BifrostError.is(error) || !['SIDECAR_NOT_FOUND', 'TAILNET_NOT_FOUND'].includes(error.code)) throw error;
}

async function withWorld(tenancy: Tenancy, hook: (world: World) => (call: PortCall) => Verdict | Promise<Verdict>): Promise<World> {
  await using world = new World({ settings: { resyncMs: 60_000 } });
  await world.manager.start();
  await world.addCustomer('acme-corp');
  world.guard.hook = hook(world);
  await wholeLife(world, tenancy);
  return world;
}

const ONCE = ['tailnet:created', 'tailnet:activated', 'sidecar:attached', 'instance:connected', 'sidecar:detached', 'tailnet:deleted'];

describe.each<Tenancy>(['customer-owned', 'organization'])('a fault at any call (%s)', (tenancy) => {
  it.each<Exclude<Verdict, undefined>>(['before', 'after'])('that fails %s its effect: it converges, nothing is doubled, each event comes once', async (verdict) => {
    const clean = await withWorld(tenancy, () => () => undefined);
    expect(clean.names()).toEqual(ONCE);
    const failed: string[] = [];
    for (let number = 1; number <= clean.guard.calls; number += 1) {
      let at = '';
      try {
        const world = await withWorld(tenancy, () => (call) => {
          if (call.number !== number) return undefined;
          at = call.name;
          return verdict;
        });
        expect([...world.names()].sort()).toEqual([...ONCE].sort());
      } catch (error) {
        failed.push(`call ${number} (${at}): ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    console.log(clean.guard.calls);
    expect(failed).toEqual([]);
  });
});
