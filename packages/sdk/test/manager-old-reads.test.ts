import { describe, expect, it } from 'vitest';
import type { StoredSidecar, StoredTailnet } from '../src/domain/model.ts';
import type { PortCall, Verdict } from './support/guarded-ports.ts';
import { ACME, BOOK, type Opened, openWorld } from './support/world.ts';

const TAILNET = ACME.tailnetName;
/** Longer than what this manager has ended itself is refused at its first read. */
const LASTS_MS = 20_000;
const MAKES = /workloads\.(attach|detach)$|secrets\.(put|remove)$|(create|revoke)Key$|deleteDevice$|createTailnet$/;

const stored = async (world: Opened): Promise<StoredSidecar> => (await world.sidecars())[0] as StoredSidecar;
const isConnected = async (world: Opened): Promise<boolean> => (await stored(world))?.state.phase === 'connected';
const isIn = async (world: Opened): Promise<boolean> => JSON.stringify(await world.cluster.readWorkload(world.book)).includes('tailscale');

async function openAttached(): Promise<Opened> {
  const world = await openWorld({ settings: { resyncMs: 5_000 } });
  await world.manager.attachSidecar(BOOK);
  await world.until(() => isConnected(world));
  await world.quiet();
  return world;
}

type Kind = 'sidecars' | 'tailnets';

/** Every read of the object answers what it was. */
const answer =
  (kind: Kind, old: StoredSidecar | StoredTailnet) =>
  ({ name }: PortCall): Verdict =>
    name === `store.${kind}.get` ? { old } : undefined;

/** For a while; gives what was made or taken away outside meanwhile. `from`: since that call, which is made as it is. */
async function answering(world: Opened, kind: Kind, { old, from }: { readonly old: StoredSidecar | StoredTailnet; readonly from?: string }) {
  let begun = world.guard.names.length;
  const isBegun = from === undefined;
  world.guard.hook = isBegun
    ? answer(kind, old)
    : ({ name }) => {
        if (name !== from) return undefined;
        begun = world.guard.names.length;
        world.guard.hook = answer(kind, old);
        return undefined;
      };
  // A change that means nothing: the hint is what counts.
  if (isBegun) await world.cluster.changeWorkload(world.book, { manager: 'owner', annotations: { 'owner.example/note': 'theirs' } });
  await world.run(LASTS_MS);
  const names = world.guard.names.slice(begun);
  expect(names.filter((name) => name === `store.${kind}.get`).length, 'rounds that read it').toBeGreaterThan(3);
  world.guard.hook = () => undefined;
  await world.run(LASTS_MS);
  return names.filter((name) => MAKES.test(name));
}

/** As it was each time it was written. */
async function versionsOf(world: Opened, work: () => Promise<unknown>): Promise<readonly StoredSidecar[]> {
  const versions: StoredSidecar[] = [];
  world.guard.hook = async () => {
    const now = await stored(world);
    if (now !== undefined && now.version !== versions.at(-1)?.version) versions.push(now);
    return undefined;
  };
  await work();
  world.guard.hook = () => undefined;
  return versions;
}

describe('an old read of an attachment', () => {
  it('bug: that was taken away: its sidecar is not put in again, and no key made', async () => {
    await using world = await openAttached();
    const old = await stored(world);
    await world.manager.detachSidecar(old.spec.sidecarId);
    expect(await answering(world, 'sidecars', { old, from: 'store.sidecars.finalize' })).toEqual([]);
    expect([await isIn(world), await world.outside()]).toEqual([false, { devices: 0, keys: 0, secrets: 0, tailnets: 0 }]);
  });

  it('bug: that was updated: the earlier fragment does not come back, and nobody is said to have drifted', async () => {
    await using world = await openAttached();
    const old = await stored(world);
    await world.manager.updateSidecar({ sidecarId: old.spec.sidecarId, config: { acceptRoutes: false }, allowRollout: true });
    await world.until(async () => (await isConnected(world)) && (await stored(world)).spec.trial === undefined);
    await world.quiet();
    expect(await answering(world, 'sidecars', { old })).toEqual([]);
    expect([await isIn(world), world.names('sidecar:drifted')]).toEqual([true, []]);
  });

  it('from before its key: it gets no second one', async () => {
    await using world = await openWorld({ settings: { resyncMs: 5_000 } });
    const [old] = await versionsOf(world, async () => {
      await world.manager.attachSidecar(BOOK);
      await world.until(() => isConnected(world));
    });
    expect(old?.state.keys).toEqual([]);
    expect(await answering(world, 'sidecars', { old: old as StoredSidecar })).toEqual([]);
    expect(world.control.keys()).toHaveLength(1);
  });

  it('bug: from the end of one that has come anew since: nothing of it is released', async () => {
    await using world = await openAttached();
    const { sidecarId } = (await stored(world)).spec;
    const versions = await versionsOf(world, async () => {
      await world.manager.detachSidecar(sidecarId);
      await world.until(async () => (await world.sidecars()).length === 0);
    });
    const old = versions.at(-1) as StoredSidecar;
    expect(old).toMatchObject({ deleting: true, state: { phase: 'detaching' } });
    await world.manager.attachSidecar(BOOK);
    await world.until(() => isConnected(world));
    expect((await stored(world)).spec.sidecarId).toBe(sidecarId);
    expect(await answering(world, 'sidecars', { old })).toEqual([]);
    expect(await isConnected(world)).toBe(true);
  });

  it('bug: of the Secret of one that has come anew since: the key that cannot be put into it is revoked', async () => {
    await using world = await openWorld();
    const secret = async () => world.cluster.secrets.get({ namespace: 'acme-corp', name: `bifrost-${(await stored(world)).spec.sidecarId}` }, call);
    const call = { signal: AbortSignal.timeout(5_000) };
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    await world.until(() => isConnected(world));
    const old = await secret();
    await world.manager.detachSidecar(sidecarId);
    await world.until(async () => (await world.sidecars()).length === 0);
    await world.manager.attachSidecar(BOOK);
    await world.until(() => isConnected(world));
    await world.quiet();
    const keyIds = () => world.control.keys().map(({ keyId }) => keyId);
    const before = keyIds();
    let met = 0;
    // Of the two that a round reads one after the other the second: the first holds the credential.
    const isOfSidecar = (name: string): boolean => name === 'cluster.secrets.get' && world.guard.names.at(-2) === name;
    world.guard.hook = ({ name }) => (isOfSidecar(name) && met++ < 3 ? { old } : undefined);
    await world.cluster.changeWorkload(world.book, { manager: 'owner', annotations: { 'owner.example/note': 'theirs' } });
    await world.run(2 * LASTS_MS);
    expect(met).toBeGreaterThan(3);
    expect(keyIds()).toEqual(before);
    expect([(await stored(world)).state.keys.length, (await secret())?.get('keyid')?.reveal()]).toEqual([1, before[0]]);
  });

  it('twin: what it is now is put in again where somebody took it out', async () => {
    await using world = await openAttached();
    await world.cluster.rolloutUndo(world.book);
    await world.until(() => isIn(world), { limitMs: 5_000 });
    expect(world.names('sidecar:drifted')).toEqual(['sidecar:drifted']);
  });
});

describe('an old read of a tailnet', () => {
  it('bug: from the end of one whose name another has now: its sidecar is not detached', async () => {
    await using world = await openWorld({ settings: { resyncMs: 5_000 } });
    await world.manager.deleteTailnet(TAILNET);
    let old: StoredTailnet | undefined;
    await world.until(
      async () => {
        const now = await world.tailnet();
        old = now ?? old;
        return now === undefined;
      },
      { stepMs: 0 },
    );
    expect(old).toMatchObject({ deleting: true });
    await world.manager.createTailnet(ACME);
    await world.manager.attachSidecar(BOOK);
    await world.until(() => isConnected(world));
    expect(await answering(world, 'tailnets', { old: old as StoredTailnet })).toEqual([]);
    expect(await isConnected(world)).toBe(true);
  });

  it('bug: from before it was made: none is made for one that is gone', async () => {
    await using world = await openWorld({ settings: { resyncMs: 5_000 } });
    const request = { ...ACME, tailnetName: 'made', tenancy: 'organization' } as const;
    await world.manager.createTailnet(request);
    const old = (await world.tailnet('made')) as StoredTailnet;
    expect(old.state.controlId).toBeUndefined();
    await world.until(async () => (await world.tailnet('made'))?.state.phase === 'active');
    await world.manager.deleteTailnet('made');
    expect(await answering(world, 'tailnets', { old, from: 'store.tailnets.finalize' })).toEqual([]);
    expect(await world.outside()).toMatchObject({ tailnets: 0 });
  });

  it('bug: of its name before: deleting it is no success while another has the name; the same call again deletes that', async () => {
    await using world = await openWorld();
    const old = await world.tailnet();
    await world.manager.deleteTailnet(TAILNET);
    await world.until(async () => (await world.tailnet()) === undefined);
    await world.manager.createTailnet(ACME);
    await world.until(async () => (await world.tailnet())?.state.phase === 'active');
    let reads = 0;
    world.guard.hook = ({ name }) => (name === 'store.tailnets.get' && reads++ === 0 ? { old } : undefined);
    await expect(world.manager.deleteTailnet(TAILNET)).rejects.toMatchObject({ code: 'STORE_CONFLICT', retry: 'backoff' });
    expect(await world.tailnet()).toMatchObject({ deleting: false });
    await world.manager.deleteTailnet(TAILNET);
    await world.until(async () => (await world.tailnet()) === undefined);
  });
});

describe('a list of devices that is older than a device', () => {
  const older = ({ name }: PortCall): Verdict => (name === 'controlPlane.tailnet.listDevices' ? { old: [] } : undefined);

  it('bug: it was left behind by a detach', async () => {
    await using world = await openAttached();
    world.guard.hook = older;
    await world.manager.detachSidecar((await stored(world)).spec.sidecarId);
    await world.until(async () => (await stored(world)) === undefined);
    expect(await world.outside()).toEqual({ devices: 0, keys: 0, secrets: 0, tailnets: 0 });
  });

  it('bug: it stayed in the tailnet of a sidecar that was said to be cut off', async () => {
    await using world = await openAttached();
    world.guard.hook = older;
    await world.manager.quarantineSidecar({ sidecarId: (await stored(world)).spec.sidecarId });
    await world.until(async () => (await stored(world)).state.quarantinedSinceMs !== undefined);
    expect(world.control.devices()).toEqual([]);
  });

  it.each(['CONTROL_DENIED', 'CONTROL_UNAVAILABLE'] as const)('bug: an id that answers %s kept what is listed in the tailnet', async (refused) => {
    await using world = await openAttached();
    const sidecarId = (await stored(world)).spec.sidecarId;
    const own = world.control.devices().map(({ deviceId }) => deviceId);
    for (const agent of world.agents.all) agent.node = { device_id: 'n666CNTRL' }; // what it says from now on
    await world.until(async () => (await stored(world)).state.instances.some(({ deviceId }) => deviceId === 'n666CNTRL'));
    world.guard.hook = ({ name }) => (name === 'controlPlane.tailnet.findDevice' ? { refused } : undefined);
    await world.manager.quarantineSidecar({ sidecarId });
    await world.until(() => world.control.devices().every(({ deviceId }) => !own.includes(deviceId)));
  });
});
