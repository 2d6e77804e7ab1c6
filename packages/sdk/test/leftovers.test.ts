import { Secret } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { keyDescription, LABELS, tailnetSecretName } from '../src/domain/names.ts';
import { ACME, BOOK, BOOK_TAG, type Opened, openWorld } from './support/world.ts';

const SOMEBODY = '0b7c0e4e-3d0f-8a55-8a4b-5a1fb0c2d9e1';
const call = () => ({ signal: AbortSignal.timeout(5_000) });
const counts = async ({ manager }: Opened) => {
  const found = await manager.listLeftovers();
  const count = (kind: string): number => found.filter((leftover) => leftover.kind === kind).length;
  return { devices: count('device'), keys: count('key'), secrets: count('secret'), tailnets: count('tailnet') };
};
const NONE = { devices: 0, keys: 0, secrets: 0, tailnets: 0 };

async function connectedWorld(): Promise<Opened & { readonly controlId: string }> {
  const world = await openWorld();
  await world.manager.attachSidecar(BOOK);
  await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
  return Object.assign(world, { controlId: world.control.tailnets()[0]?.controlId ?? '' });
}
const controlOf = async (world: Opened) => {
  const data = await world.cluster.secrets.get({ namespace: 'bifrost', name: 'bifrost-customer-acme-corp' }, call());
  const credential = { clientId: data?.get('client_id')?.reveal() ?? '', clientSecret: data?.get('client_secret') ?? new Secret('') };
  return world.controlPlane.tailnet({ credential });
};
const key = (description: string) => ({ description, tags: [BOOK_TAG], reusable: true, ephemeral: true, lifetimeSeconds: 600 });

describe('listLeftovers', () => {
  it('is empty beside what is owned, and beside what others made', async () => {
    await using world = await connectedWorld();
    world.control.addDevice({ controlId: world.controlId, hostname: 'router', advertiseRoutes: ['10.0.0.0/8'], tags: ['tag:router'] });
    await (await controlOf(world)).createKey(key('the customer made this'), call());
    await world.cluster.createSecret({ namespace: 'acme-corp', name: 'theirs', data: { a: 'b' } });
    world.control.createTailnet(world.control.signIn(world.control.organization), 'Someone elses');
    expect(await counts(world)).toEqual(NONE);
  });

  it('bug: a tailnet that goes while it is looked at hinders nobody; one that cannot be asked does', async () => {
    await using world = await connectedWorld();
    await world.manager.createTailnet({ ...ACME, tailnetName: 'leaves', tenancy: 'organization' });
    await world.until(async () => (await world.tailnet('leaves'))?.state.phase === 'active');
    const [store, names] = [world.store, ['acme-corp-production', 'leaves']];
    world.guard.hook = async ({ name }) => {
      if (name !== 'controlPlane.tailnet.listKeys' || names.length === 0 || names.shift() !== 'leaves') return undefined;
      await store.tailnets.remove('leaves', call());
      return 'before';
    };
    expect(await counts(world)).toEqual(NONE);
    world.guard.hook = ({ name }) => (name === 'controlPlane.tailnet.listKeys' ? 'before' : undefined);
    await expect(world.manager.listLeftovers()).rejects.toMatchObject({ code: 'CONTROL_UNAVAILABLE' });
  });

  it('shows each planted thing once, with its place', async () => {
    await using world = await connectedWorld();
    const device = world.control.addDevice({ controlId: world.controlId, hostname: 'left-behind', tags: [BOOK_TAG] });
    expect(await counts(world)).toEqual({ ...NONE, devices: 1 });
    const { keyId } = await (await controlOf(world)).createKey(key(keyDescription(SOMEBODY)), call());
    expect(await counts(world)).toEqual({ ...NONE, devices: 1, keys: 1 });
    await world.cluster.secrets.put(
      { namespace: 'acme-corp', name: `bifrost-${SOMEBODY}`, labels: { [LABELS.sidecarId]: SOMEBODY }, data: new Map() },
      call(),
    );
    expect(await counts(world)).toEqual({ ...NONE, devices: 1, keys: 1, secrets: 1 });
    const { controlId } = world.control.createTailnet(world.control.signIn(world.control.organization), `gone-${SOMEBODY.slice(0, 8)}`);
    expect(await counts(world)).toEqual({ devices: 1, keys: 1, secrets: 1, tailnets: 1 });
    expect(await world.manager.listLeftovers()).toEqual(
      expect.arrayContaining([
        { kind: 'device', id: device.deviceId, place: 'acme-corp-production' },
        { kind: 'key', id: keyId, place: 'acme-corp-production' },
        { kind: 'secret', id: `bifrost-${SOMEBODY}`, place: 'acme-corp' },
        { kind: 'tailnet', id: controlId, place: `gone-${SOMEBODY.slice(0, 8)}` },
      ]),
    );
    await world.cluster.secrets.put(
      { namespace: 'bifrost', name: tailnetSecretName(SOMEBODY), labels: { [LABELS.tailnetId]: SOMEBODY }, data: new Map() },
      call(),
    );
    expect((await counts(world)).secrets).toBe(2);
  });

  it('bug: shows a device of a pod that is gone while its attachment lives, but not one that has only just joined', async () => {
    await using world = await connectedWorld();
    const data = await world.cluster.secrets.get({ namespace: 'acme-corp', name: `bifrost-${world.agents.one.sidecarId}` }, call());
    await world.manager.pauseTailnet(ACME.tailnetName); // else the loop would delete it
    world.control.join({ authKey: data?.get('authkey') ?? '', hostname: BOOK.config.hostname });
    expect(await counts(world)).toEqual(NONE);
    await world.run(60_000);
    expect(await counts(world)).toEqual({ ...NONE, devices: 1 });
  });

  it('bug: two tailnets of one customer that lead to the same place do not take each other’s for leftovers', async () => {
    await using world = await connectedWorld();
    await world.manager.createTailnet({ ...ACME, tailnetName: 'acme-corp-staging' });
    await world.until(async () => (await world.tailnet('acme-corp-staging'))?.state.phase === 'active');
    expect(await counts(world)).toEqual(NONE);
    world.control.addDevice({ controlId: world.controlId, hostname: 'left-behind', tags: [BOOK_TAG] });
    expect(await counts(world)).toEqual({ ...NONE, devices: 1 });
  });

  it('bug: what is made while it looks is no leftover', async () => {
    await using world = await openWorld();
    let attached: Promise<unknown> | undefined;
    let released = false;
    // While the first answer is on its way, a sidecar comes up whole.
    world.guard.hook = async ({ name }) => {
      if (name !== 'cluster.secrets.list' || released) return undefined;
      released = true;
      attached = world.manager.attachSidecar(BOOK);
      await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
      return undefined;
    };
    expect(await counts(world)).toEqual(NONE);
    await attached;
  });
});
