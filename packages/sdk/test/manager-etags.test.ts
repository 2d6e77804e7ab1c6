import { BifrostError } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { MemoryStore } from '../src/adapters/memory/store.ts';
import type { StoredSidecar, StoredTailnet } from '../src/domain/model.ts';
import { kubernetes, kubernetesStore } from '../src/kubernetes.ts';
import { etagOf } from '../src/manager/etags.ts';
import type { NetworkManager } from '../src/manager/network-manager.ts';
import { ManualClock } from '../src/testing/manual-clock.ts';
import { json, startFakeServer } from './kubernetes-fake-server.ts';
import { attached, stored } from './support/attached.ts';
import { expectRefused } from './support/refused.ts';
import { ACME, BOOK, type Opened, openWorld, refusal } from './support/world.ts';

const TAILNET = ACME.tailnetName;
const call = () => ({ signal: AbortSignal.timeout(5_000) });
/** As the loop leaves it when it has put something right. */
async function repaired(world: Opened): Promise<void> {
  const sidecar = (await stored(world)) as StoredSidecar;
  const repairs = [{ manager: 'gitops', atMs: world.clock.nowMs() }];
  await world.store.sidecars.replaceState(sidecar, { ...sidecar.state, repairs }, call());
}
const tailnetEtag = async ({ manager }: Opened): Promise<string> => (await manager.getTailnet(TAILNET)).etag;
const sidecarEtag = async ({ manager }: Opened): Promise<string> => (await manager.listSidecars())[0]?.etag ?? '';

/** Every call that takes an etag; those of sidecars get the sidecar's. */
const CALLS: Readonly<Record<string, (manager: NetworkManager, sidecarId: string, options: { readonly ifMatch: string }) => Promise<unknown>>> = {
  updateTailnet: (manager, _, options) => manager.updateTailnet({ tailnetName: TAILNET, tags: ['new'] }, options),
  pauseTailnet: (manager, _, options) => manager.pauseTailnet(TAILNET, options),
  resumeTailnet: (manager, _, options) => manager.resumeTailnet(TAILNET, options),
  upgradeSidecars: (manager, _, options) => manager.upgradeSidecars({ tailnetName: TAILNET }, options),
  deleteTailnet: (manager, _, options) => manager.deleteTailnet(TAILNET, { cascade: true, ...options }),
  'deleteTailnet with abandon': (manager, _, options) => manager.deleteTailnet(TAILNET, { cascade: true, abandon: true, ...options }),
  updateSidecar: (manager, sidecarId, options) => manager.updateSidecar({ sidecarId, config: { enableSsh: true }, allowRollout: true }, options),
  repairSidecar: (manager, sidecarId, options) => manager.repairSidecar(sidecarId, options),
  quarantineSidecar: (manager, sidecarId, options) => manager.quarantineSidecar({ sidecarId }, options),
  detachSidecar: (manager, sidecarId, options) => manager.detachSidecar(sidecarId, options),
  'detachSidecar with abandon': (manager, sidecarId, options) => manager.detachSidecar(sidecarId, { abandon: true, ...options }),
};
const names = Object.keys(CALLS);
const etagFor = (name: string, world: Opened): Promise<string> =>
  (name.includes('Tailnet') || name === 'upgradeSidecars' ? tailnetEtag : sidecarEtag)(world);

describe('an etag', () => {
  it('of a tailnet is another one with each change of the wish, and with no other', async () => {
    await using world = await openWorld();
    const { manager } = world;
    const seen = [await tailnetEtag(world)];
    const isNew = async (): Promise<void> => {
      const etag = await tailnetEtag(world);
      expect(seen).not.toContain(etag);
      seen.push(etag);
      await world.run(30_000);
      expect(await tailnetEtag(world)).toBe(etag);
    };
    await manager.attachSidecar(BOOK);
    await world.until(async () => (await stored(world))?.state.phase === 'connected');
    expect(await tailnetEtag(world)).toBe(seen[0]);
    await manager.updateTailnet({ tailnetName: TAILNET, tags: ['other'] });
    await isNew();
    await manager.updateTailnet({ tailnetName: TAILNET, config: { enableLogging: false } });
    await isNew();
    await manager.pauseTailnet(TAILNET);
    await isNew();
    await manager.upgradeSidecars({ tailnetName: TAILNET });
    await isNew();
    await manager.deleteTailnet(TAILNET, { cascade: true });
    await isNew(); // paused: it stays
    await manager.resumeTailnet(TAILNET);
    expect(seen).not.toContain(await tailnetEtag(world));
  });

  it('of a sidecar is another one with its configuration, with a roll-back and a deletion, and with no other change', async () => {
    await using world = await attached();
    const { manager, sidecarId } = world;
    const first = await sidecarEtag(world);
    await world.agents.one.report('change', { node: { usable: false } });
    await world.run(1_000);
    expect((await manager.getSidecar(sidecarId)).status).toBe('disconnected');
    expect(await sidecarEtag(world)).toBe(first);
    await world.agents.one.report('change');
    await manager.upgradeSidecars({ tailnetName: TAILNET });
    await world.until(() => world.names().includes('upgrade:finished'));
    expect(await sidecarEtag(world)).toBe(first);
    world.agents.speak = false;
    const { etag } = await manager.updateSidecar({ sidecarId, config: { enableSsh: true }, allowRollout: true });
    expect(etag).not.toBe(first);
    expect(etag).toBe(await sidecarEtag(world));
    await world.until(() => world.names().includes('sidecar:reverted'));
    expect(await sidecarEtag(world)).toBe(first); // what is wanted is what it was
    await manager.pauseTailnet(TAILNET);
    await manager.detachSidecar(sidecarId);
    expect([first, etag]).not.toContain(await sidecarEtag(world));
  });

  it('is the same from another manager, and however the store writes the same wish', async () => {
    await using world = await attached();
    const before = [await tailnetEtag(world), await sidecarEtag(world)];
    await world.restart();
    expect([await tailnetEtag(world), await sidecarEtag(world)]).toEqual(before);
    const tailnet = (await world.tailnet()) as StoredTailnet;
    const { spec } = tailnet;
    const config = Object.fromEntries(Object.entries(spec.config).reverse()) as unknown as StoredTailnet['spec']['config'];
    await world.store.tailnets.replaceSpec(tailnet, { ...spec, config, paused: false, rollout: 'ask' }, call());
    expect(await tailnetEtag(world)).toBe(before[0]);
  });
});

describe('an etag of a Tailnet in Kubernetes', () => {
  const tailnet = (spec: object, { resourceVersion = '5', status = {} } = {}) => {
    const metadata = { name: 'by-hand', uid: 'uid-1', resourceVersion, generation: 1, creationTimestamp: '2026-11-23T07:27:48Z' };
    return { kind: 'Tailnet', metadata, spec, status };
  };
  const config = { allowedNetworks: ['10.0.0.0/8'] };
  const bare = { customerId: 'acme', config };
  const written = { blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false };
  const whole = { ...bare, config: { ...config, ...written }, tags: [], tenancy: 'customer-owned', rollout: 'ask', paused: false };

  it('is that of the same in any other store, however its defaults are written, and whatever its status says', async () => {
    await using server = await startFakeServer();
    await using store = kubernetesStore({ connection: kubernetes({ kubeconfig: server.kubeconfig() }) });
    const read = async (object: object): Promise<StoredTailnet> => {
      server.next(json(object));
      return (await store.tailnets.get('by-hand', call())) as StoredTailnet;
    };
    const first = await read(tailnet(bare));
    expect(etagOf(await read(tailnet(whole, { resourceVersion: '9', status: { phase: 'active', controlId: 'T1' } })))).toBe(etagOf(first));
    expect(etagOf(await read(tailnet({ ...whole, paused: true })))).not.toBe(etagOf(first));
    await using memory = new MemoryStore({ clock: new ManualClock() });
    const { spec, state } = first;
    expect(etagOf(await memory.tailnets.create('by-hand', { spec, state }, call()))).toBe(etagOf(first));
  });
});

describe('ifMatch', () => {
  it.each(names)('%s: lets through what matches', async (name) => {
    await using world = await attached();
    const before = await etagFor(name, world);
    await expect(CALLS[name]?.(world.manager, world.sidecarId, { ifMatch: before })).resolves.not.toThrow();
  });

  it.each(names)('%s: refuses what does not, and records it', async (name) => {
    await using world = await attached();
    const ifMatch = name.includes('Sidecar') && name !== 'upgradeSidecars' ? await tailnetEtag(world) : await sidecarEtag(world);
    const act = async (): Promise<unknown> => CALLS[name]?.(world.manager, world.sidecarId, { ifMatch });
    await expectRefused(world, act, { code: 'ETAG_MISMATCH', paths: ['ifMatch'] });
  });

  it.each(names)('%s: a change of the wish between its check and its write wins, and that is recorded', async (name) => {
    await using world = await attached();
    if (name === 'resumeTailnet') await world.manager.pauseTailnet(TAILNET);
    if (name === 'repairSidecar') await repaired(world); // or there would be nothing to write
    const ifMatch = await etagFor(name, world);
    const other = world.newManager();
    const isTailnets = ifMatch === (await tailnetEtag(world));
    const { append } = world.audit;
    world.audit.append = async (record, options) => {
      await append.call(world.audit, record, options);
      if (record.outcome !== 'accepted' || record.actor === 'rival') return;
      if (isTailnets) await other.updateTailnet({ tailnetName: TAILNET, tags: ['theirs'] }, { actor: 'rival' });
      else await other.updateSidecar({ sidecarId: world.sidecarId, config: { acceptRoutes: false }, allowRollout: true }, { actor: 'rival' });
    };
    const recorded = world.audit.records.length;
    expect(await refusal((async () => CALLS[name]?.(world.manager, world.sidecarId, { ifMatch }))())).toMatchObject({ code: 'ETAG_MISMATCH' });
    expect(world.audit.records.slice(recorded).map(({ actor, outcome }) => `${actor} ${outcome}`)).toEqual([
      'sdk accepted',
      'rival accepted',
      'sdk ETAG_MISMATCH',
    ]);
    expect((await world.tailnet())?.spec).toMatchObject({ tags: isTailnets ? ['theirs'] : ACME.tags });
    const sidecar = await stored(world);
    expect([(await world.tailnet())?.deleting, sidecar?.deleting]).toEqual([false, false]);
    expect([(await world.tailnet())?.spec.abandon, sidecar?.spec.abandon]).toEqual([undefined, undefined]);
    expect(sidecar?.spec.config).toMatchObject({ acceptRoutes: isTailnets, enableSsh: false });
  });

  it.each(['deleteTailnet', 'detachSidecar'])('%s: writes of the loop in between do not hinder it', async (name) => {
    await using world = await attached();
    const ifMatch = await etagFor(name, world);
    const { append } = world.audit;
    world.audit.append = async (record, options) => {
      await append.call(world.audit, record, options);
      const [tailnet, sidecar] = [await world.tailnet(), await stored(world)];
      if (tailnet === undefined || sidecar === undefined) throw new BifrostError({ code: 'INTERNAL', message: 'gone too early' });
      await world.store.tailnets.replaceState(tailnet, { ...tailnet.state, phase: 'degraded' }, call());
      await world.store.sidecars.replaceState(sidecar, { ...sidecar.state, phase: 'degraded' }, call());
    };
    await CALLS[name]?.(world.manager, world.sidecarId, { ifMatch });
    expect([(await world.tailnet())?.deleting ?? true, (await stored(world))?.deleting ?? true]).toContain(true);
  });

  it('a conflict that is none of the wish stays one: the same call again goes through', async () => {
    await using world = await attached();
    const ifMatch = await tailnetEtag(world);
    world.guard.hook = ({ name }) => {
      if (name !== 'store.tailnets.replaceSpec') return undefined;
      world.guard.hook = () => undefined;
      return { refused: 'STORE_CONFLICT' };
    };
    const update = () => world.manager.updateTailnet({ tailnetName: TAILNET, tags: ['new'] }, { ifMatch });
    expect(await refusal(update())).toMatchObject({ code: 'STORE_CONFLICT', retry: 'backoff' });
    expect(await update()).toMatchObject({ tags: ['new'] });
    expect(await refusal(update())).toMatchObject({ code: 'ETAG_MISMATCH', retry: 'never' });
  });
});

describe('getSidecar', () => {
  it('gives the one of this id, as listSidecars does, with its customer', async () => {
    await using world = await attached();
    const [sidecar] = await world.manager.listSidecars();
    expect(sidecar).toMatchObject({ sidecarId: world.sidecarId, customerId: 'acme-corp' });
    expect(await world.manager.getSidecar(world.sidecarId)).toEqual(sidecar);
  });

  it.each(['0b7c0e4e-3d0f-8a55-8a4b-5a1fb0c2d9e1', '', undefined])('refuses one that is not known: %j', async (sidecarId) => {
    await using world = await openWorld();
    const get = (): Promise<unknown> => world.manager.getSidecar(sidecarId as string);
    await expectRefused(world, get, { code: 'SIDECAR_NOT_FOUND', paths: ['sidecarId'], audited: false });
  });
});

describe('created', () => {
  it('says whether the call made it, of two at once for one of them', async () => {
    await using world = await openWorld();
    const made = async (calls: readonly Promise<{ readonly created: boolean }>[]) => (await Promise.all(calls)).map(({ created }) => created).sort();
    const { manager } = world;
    const other = world.newManager();
    expect(await made([manager, other, manager].map((each) => each.attachSidecar(BOOK)))).toEqual([false, false, true]);
    const another = { ...ACME, tailnetName: 'another' };
    expect(await made([manager, other, manager].map((each) => each.createTailnet(another)))).toEqual([false, false, true]);
    expect(await made([manager.createTailnet(another), manager.attachSidecar(BOOK)])).toEqual([false, false]);
  });

  it('is false for what another was quicker to store, after the look that did not find it', async () => {
    await using world = await openWorld();
    const other = world.newManager();
    const { append } = world.audit;
    world.audit.append = async (record, options) => {
      await append.call(world.audit, record, options);
      if (record.actor === 'rival') return;
      if (record.action === 'createTailnet') await other.createTailnet({ ...ACME, tailnetName: 'another' }, { actor: 'rival' });
      else await other.attachSidecar(BOOK, { actor: 'rival' });
    };
    expect(await world.manager.createTailnet({ ...ACME, tailnetName: 'another' })).toMatchObject({ created: false });
    expect(await world.manager.attachSidecar(BOOK)).toMatchObject({ created: false });
  });
});
