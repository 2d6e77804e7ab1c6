import { parse } from 'jsonc-parser';
import { describe, expect, it } from 'vitest';
import { bookTagOf, customerTagsOf } from '../src/domain/policy/identity-tags.ts';
import { digest } from './policy/worlds.ts';
import { ACME, BOOK, BOOK_TAG, openWorld, World, type WorldOptions } from './support/world.ts';

const PLACE = { customerId: 'acme-corp', tailnetName: ACME.tailnetName };
const CUSTOMER = customerTagsOf(PLACE, digest).customer;
const TAG = bookTagOf(PLACE, BOOK.bookDeploymentId, digest);
const IDENTITY = [CUSTOMER, TAG];

const call = () => ({ signal: AbortSignal.timeout(5_000) });
const connected = (world: World) => async (): Promise<boolean> => (await world.sidecars())[0]?.state.phase === 'connected';
const policyOf = async (world: World) => {
  const control = world.controlPlane.tailnet({ controlId: (await world.tailnet())?.state.controlId ?? '' });
  return parse((await control.readPolicy(call())).text, [], { allowTrailingComma: true });
};

async function organization(settings: WorldOptions['settings'] = {}): Promise<World> {
  const world = new World({ settings });
  await world.manager.start();
  await world.cluster.createNamespace({ name: 'acme-corp', customerId: 'acme-corp' });
  await world.addBook();
  await world.manager.createTailnet({ ...ACME, tenancy: 'organization' });
  await world.until(async () => (await world.tailnet())?.state.phase === 'active');
  return world;
}

async function attached(change: Partial<typeof BOOK.config> = {}): Promise<World> {
  const world = await organization();
  await world.manager.attachSidecar({ ...BOOK, config: { ...BOOK.config, ...change } });
  await world.until(connected(world));
  return world;
}

describe('who a book is, in a tailnet whose policy is ours', () => {
  it('its devices carry the tags of all books, of its customer and of itself; the policy owns these before there is a key', async () => {
    await using world = await organization();
    const owned: boolean[] = [];
    world.guard.hook = async ({ name }) => {
      if (name !== 'controlPlane.tailnet.createKey') return undefined;
      const { tagOwners } = await policyOf(world);
      owned.push(IDENTITY.every((tag) => tag in tagOwners));
      return undefined;
    };
    await world.manager.attachSidecar(BOOK);
    await world.until(connected(world));
    expect(owned).toEqual([true]);
    expect(world.control.keys().map(({ tags }) => tags)).toEqual([[BOOK_TAG, ...IDENTITY]]);
    expect(world.control.devices().map(({ tags }) => tags)).toEqual([[BOOK_TAG, ...IDENTITY]]);
    const [grant] = (await policyOf(world)).grants;
    expect(grant.src).toEqual([BOOK_TAG, CUSTOMER]); // of devices that joined before there were such tags, too
  });

  it('the words that a caller chose as `tags` are labels alone: neither the policy nor a key has them, and a change needs no new key', async () => {
    await using world = await organization();
    await world.manager.attachSidecar(BOOK);
    await world.until(connected(world));
    const text = async () => JSON.stringify([await policyOf(world), world.control.keys(), world.control.devices().map(({ tags }) => tags)]);
    expect(await text()).not.toMatch(/production"|customer-acme"|tag:production/);
    const labels = async () => (await world.cluster.secrets.list(call())).find(({ namespace }) => namespace === 'acme-corp')?.labels;
    expect(await labels()).toMatchObject({ 'tag.bifrost.dev/production': 'true', 'tag.bifrost.dev/customer-acme': 'true' });
    await world.manager.updateTailnet({ tailnetName: ACME.tailnetName, tags: ['audited'] });
    await world.run(60_000);
    expect(await text()).not.toContain('audited');
    expect(world.control.keys()).toHaveLength(1);
  });

  it('while the policy cannot be written, there is no key; then there is one', async () => {
    await using world = await organization();
    let failures = 4;
    world.guard.hook = async ({ name }) => {
      if (name !== 'controlPlane.tailnet.writePolicy' || failures-- <= 0) return undefined;
      expect(world.control.keys()).toEqual([]);
      return 'before';
    };
    await world.manager.attachSidecar(BOOK);
    await world.until(connected(world));
    expect(failures).toBeLessThanOrEqual(0);
  });

  it('bug: it gets its key while others come and go, so that the policy is never as it is wanted', async () => {
    await using world = await organization();
    let comers = 0;
    world.guard.hook = async ({ name }) => {
      if (name !== 'controlPlane.tailnet.writePolicy' || comers >= 20) return undefined;
      comers += 1;
      await world.clock.sleep(1_000, call());
      const bookDeploymentId = `comer-${comers}`;
      await world.addBook({ name: bookDeploymentId });
      await world.manager.attachSidecar({ ...BOOK, bookDeploymentId, config: { ...BOOK.config, hostname: bookDeploymentId } });
      return undefined;
    };
    await world.manager.attachSidecar(BOOK);
    await world.until(() => world.control.keys().length > 0);
    expect(comers).toBeLessThan(5);
    await world.until(async () => (await world.sidecars()).every(({ state }) => state.phase === 'connected'));
    expect(await world.sidecars()).toHaveLength(21);
  });

  it('what a book offers, and its shell, are in the policy by its own tag; when it is detached, nothing of it is', async () => {
    await using world = await attached({ enableSsh: true, advertiseRoutes: ['192.168.7.0/24'] });
    const { grants, ssh } = await policyOf(world);
    expect(ssh).toEqual([expect.objectContaining({ dst: [TAG] })]);
    expect(grants).toContainEqual({ src: ['tag:bifrost-router'], dst: ['192.168.7.0/24'], ip: ['*'], via: [TAG] });
    const [sidecar] = await world.sidecars();
    await world.manager.detachSidecar(sidecar?.spec.sidecarId ?? '');
    await world.until(async () => !JSON.stringify(await policyOf(world)).includes(TAG));
    expect(world.control.devices()).toEqual([]);
  });

  it('an attachment whose key is of the time before these tags gets another without new pods, and its device stays until its pod goes', async () => {
    await using world = await attached();
    const [before] = await world.sidecars();
    if (before === undefined) throw new Error('nothing is attached');
    const [old] = before.state.keys;
    await world.manager.stop();
    const keys = before.state.keys.map(({ tags: _, ...key }) => key);
    await world.store.sidecars.replaceState(before, { ...before.state, keys }, call());
    const [device] = world.control.devices();
    await world.restart();
    await world.until(async () => (await world.sidecars())[0]?.state.keys.at(-1)?.keyId !== old?.keyId);
    await world.run(20 * 60_000);
    const [sidecar] = await world.sidecars();
    expect(sidecar?.state.keys).toEqual([expect.objectContaining({ tags: IDENTITY })]); // the old one is retired
    expect(world.control.keys().map(({ keyId }) => keyId)).not.toContain(old?.keyId);
    expect(sidecar?.state.instances).toEqual(before.state.instances);
    expect(sidecar?.spec.fragment).toEqual(before.spec.fragment);
    expect(world.control.devices()).toEqual([device]);
  });

  it('a key whose record was lost is found with its tags, and not made again', async () => {
    await using world = await organization();
    let lost = false;
    world.guard.hook = async ({ name }) => {
      if (lost || name !== 'store.sidecars.replaceState' || world.control.keys().length === 0) return undefined;
      lost = true;
      return 'before';
    };
    await world.manager.attachSidecar(BOOK);
    await world.until(connected(world));
    expect(lost).toBe(true);
    expect((await world.sidecars())[0]?.state.keys).toEqual([expect.objectContaining({ tags: IDENTITY })]);
    expect(world.guard.names.filter((name) => name === 'controlPlane.tailnet.createKey')).toHaveLength(1);
  });
});

describe('the twin: a customer’s own tailnet, whose policy is the customer’s', () => {
  it('knows no other tags than those of all books, and nobody reads its policy', async () => {
    await using world = await openWorld();
    await world.manager.attachSidecar(BOOK);
    await world.until(connected(world));
    expect(world.control.keys().map(({ tags }) => tags)).toEqual([[BOOK_TAG]]);
    const { keys } = (await world.sidecars())[0]?.state ?? { keys: [] };
    expect(keys.flatMap((key) => Object.keys(key))).toEqual(['keyId', 'expiresAtMs']);
    expect(world.guard.names.filter((name) => name.endsWith('Policy'))).toEqual([]);
    expect((await world.tailnet())?.state).not.toHaveProperty('policyHash');
  });
});
