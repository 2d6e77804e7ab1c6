import { getEventListeners } from 'node:events';
import { BifrostError } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { MemoryCluster } from '../src/adapters/memory/cluster.ts';
import { MemoryControlPlane } from '../src/adapters/memory/control-plane.ts';
import { MemoryStore } from '../src/adapters/memory/store.ts';
import { systemClock } from '../src/adapters/system/clock.ts';
import { NetworkManager } from '../src/manager/network-manager.ts';
import { openResources, untilNoMoreThan } from './support/open-resources.ts';
import { ACME, BOOK, IMAGES, openWorld, World } from './support/world.ts';

const SIDECAR = '0b7c0e4e-3d0f-8a55-8a4b-5a1fb0c2d9e1';
const TAILNET = 'acme-corp-production';

function onSystemClock(): NetworkManager {
  const clock = systemClock();
  return new NetworkManager({
    cluster: new MemoryCluster({ clock }),
    store: new MemoryStore({ clock }),
    controlPlane: new MemoryControlPlane(),
    images: IMAGES,
    ingest: { url: 'https://bifrost.bifrost.svc/v1/reports' },
  });
}

/** Every call that waits, as a function of its options. */
const calls = (world: World): Readonly<Record<string, (options: { readonly signal: AbortSignal }) => Promise<unknown>>> => {
  const { manager } = world;
  return {
    createTailnet: (options) => manager.createTailnet({ ...ACME, tailnetName: 'another' }, options),
    getTailnet: (options) => manager.getTailnet(TAILNET, options),
    listTailnets: (options) => manager.listTailnets(options),
    deleteTailnet: (options) => manager.deleteTailnet(TAILNET, options),
    attachSidecar: (options) => manager.attachSidecar(BOOK, options),
    planAttach: (options) => manager.planAttach(BOOK, options),
    detachSidecar: (options) => manager.detachSidecar(SIDECAR, options),
    getSidecar: (options) => manager.getSidecar(SIDECAR, options),
    listSidecars: (options) => manager.listSidecars(options),
    getNetworkStatus: (options) => manager.getNetworkStatus(TAILNET, options),
    getConnectionMetrics: (options) => manager.getConnectionMetrics(options),
    listLeftovers: (options) => manager.listLeftovers(options),
    waitFor: (options) => manager.waitFor({ tailnetName: TAILNET, status: 'deleting' }, options),
    monitorConnectivity: async (options) => {
      for await (const _ of manager.monitorConnectivity(options)) return;
    },
    ingestReport: async (options) =>
      manager.ingestReport({ token: await world.token('x'), document: world.agents.one.document('change'), ...options }),
  };
};
const names = Object.keys(calls({ manager: {} } as World));

/** Holds every port call until the test lets go. */
function holding(world: World): { readonly held: () => number; readonly release: () => void } {
  const gate = Promise.withResolvers<void>();
  let held = 0;
  world.guard.hook = async () => {
    held += 1;
    await gate.promise;
    return undefined;
  };
  return {
    held: () => held,
    release: () => {
      world.guard.hook = () => undefined;
      gate.resolve();
    },
  };
}

describe('a manager that is not started', () => {
  it('is inert: no timer, no handle, no call; dropping it is enough', () => {
    const before = process.getActiveResourcesInfo();
    const world = new World();
    onSystemClock();
    expect(process.getActiveResourcesInfo()).toEqual(before);
    expect(world.guard.calls).toBe(0);
    expect(world.clock.sleepers).toBe(0);
  });

  it('can be stopped, twice, and then does nothing more', async () => {
    const manager = onSystemClock();
    await Promise.all([manager.stop(), manager.stop()]);
    await manager.stop();
    await expect(manager.start()).rejects.toMatchObject({ code: 'MANAGER_STOPPED' });
  });

  it('takes wishes and does them once it is started (bug: it began to work unstarted)', async () => {
    await using world = new World();
    await world.addCustomer('acme-corp');
    await world.manager.createTailnet(ACME);
    await world.run(60_000);
    expect(world.guard.names).not.toContain('controlPlane.tailnet.describe');
    await world.manager.start();
    await world.until(async () => (await world.tailnet())?.state.phase === 'active');
    expect(world.names()).toEqual(['tailnet:created', 'tailnet:activated']);
  });
});

describe('start', () => {
  it('a second time is refused and harms nothing', async () => {
    await using world = await openWorld();
    await expect(world.manager.start()).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
    await expect(world.manager.getTailnet(TAILNET)).resolves.toMatchObject({ status: 'active' });
  });

  it('that is aborted rejects with the reason itself, leaves no listener, and the manager is stopped', async () => {
    await using world = new World();
    const stop = new AbortController();
    const { held, release } = holding(world);
    const starting = world.manager.start({ signal: stop.signal });
    const reason = new RangeError('changed my mind');
    await world.run(0);
    expect(held()).toBeGreaterThan(0);
    stop.abort(reason);
    release();
    await expect(starting).rejects.toBe(reason);
    expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
    await expect(world.manager.listTailnets()).rejects.toMatchObject({ code: 'MANAGER_STOPPED' });
    expect(world.clock.sleepers).toBe(0);
  });

  it('on a store that does not answer fails with its code, and stops', async () => {
    await using world = new World();
    world.store.failNext('STORE_UNAVAILABLE');
    await expect(world.manager.start()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    await expect(world.manager.listTailnets()).rejects.toMatchObject({ code: 'MANAGER_STOPPED' });
  });

  it('and stop at once do not hang', async () => {
    await using world = new World();
    const starting = world.manager.start().catch((error: unknown) => error);
    await world.manager.stop();
    expect(await starting).toMatchObject({ code: 'MANAGER_STOPPED' });
    expect(world.clock.sleepers).toBe(0);
  });
});

describe('stop', () => {
  it.each(names)('makes %s reject with MANAGER_STOPPED, as a promise (bug: some threw)', async (name) => {
    await using world = await openWorld();
    await world.manager.attachSidecar(BOOK);
    await world.until(() => world.agents.all.length === 1);
    const call = calls(world)[name];
    await world.manager.stop();
    let returned: Promise<unknown> | undefined;
    expect(() => {
      returned = call?.({ signal: AbortSignal.timeout(5_000) });
    }).not.toThrow();
    await expect(returned).rejects.toMatchObject({ code: 'MANAGER_STOPPED' });
  });

  it('ends what waits with MANAGER_STOPPED, leaves no sleeper and no listener, and what is attached stays', async () => {
    await using world = await openWorld();
    const stop = new AbortController();
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    const waiting = [calls(world)['waitFor'], calls(world)['monitorConnectivity']].map((call) =>
      call?.({ signal: stop.signal }).catch((error: unknown) => error),
    );
    await world.run(1_000);
    await Promise.all([world.manager.stop(), world.manager.stop()]);
    for (const ended of await Promise.all(waiting)) expect(ended).toMatchObject({ code: 'MANAGER_STOPPED' });
    expect(world.clock.sleepers).toBe(0);
    expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
    expect(await world.outside()).toEqual({ devices: 1, keys: 1, secrets: 1, tailnets: 0 });
  });

  it('closes its adapters, by await using too, and says which would not close', async () => {
    const world = new World();
    const closed: string[] = [];
    const closing = <Port extends object>(port: Port, name: string, fails = false): Port =>
      new Proxy(port, {
        get: (target, member) => {
          if (member === Symbol.asyncDispose)
            return () => {
              closed.push(name);
              if (fails) throw new BifrostError({ code: 'INTERNAL', message: 'stuck' });
            };
          const value: unknown = Reflect.get(target, member, target);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
    {
      await using manager = world.newManager({
        cluster: closing(world.cluster, 'cluster', true),
        store: closing(world.store, 'store'),
        controlPlane: closing(world.controlPlane, 'controlPlane'),
      });
      await manager.start();
      expect(manager.adapters).toEqual({ cluster: 'memory', store: 'memory', controlPlane: 'memory' });
    }
    expect(closed.sort()).toEqual(['cluster', 'controlPlane', 'store']);
    expect(world.logger.lines.at(-1)).toMatchObject({ level: 'error', message: 'an adapter did not close' });
    await world[Symbol.asyncDispose]();
  });

  it('leaves the process nothing to wait for', async () => {
    const before = await openResources();
    const manager = onSystemClock();
    await manager.start();
    await manager.createTailnet(ACME);
    await manager.stop();
    await untilNoMoreThan(before);
  });
});

describe('abort', () => {
  it.each(names)('%s: rejects with the reason itself, aborted before or half-way, and leaves no listener', async (name) => {
    await using world = await openWorld();
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    const call = calls(world)[name];
    const before = new AbortController();
    before.abort(new RangeError('before'));
    await expect(call?.({ signal: before.signal })).rejects.toBe(before.signal.reason);
    expect(getEventListeners(before.signal, 'abort')).toEqual([]);
    const halfWay = new AbortController();
    const { release } = holding(world);
    const ended = call?.({ signal: halfWay.signal }).catch((error: unknown) => error);
    await world.quiet();
    halfWay.abort(new RangeError('half-way'));
    release();
    // The port is asked first and sees the abort itself.
    expect(await ended).toBe(halfWay.signal.reason);
    expect(getEventListeners(halfWay.signal, 'abort')).toEqual([]);
  });

  it('of one waiting attach does not hold up the next one with that hostname', async () => {
    await using world = await openWorld();
    await world.addBook({ name: 'second' });
    const stop = new AbortController();
    const { release } = holding(world);
    const first = world.manager.attachSidecar(BOOK);
    const second = world.manager.attachSidecar({ ...BOOK, bookDeploymentId: 'second' }, stop).catch((error: unknown) => error);
    stop.abort(new RangeError('enough'));
    expect(await second).toBe(stop.signal.reason);
    release();
    await expect(first).resolves.toMatchObject({ status: 'attaching' });
    await expect(world.manager.attachSidecar({ ...BOOK, bookDeploymentId: 'second', config: { hostname: 'second' } })).resolves.toBeDefined();
  });
});
