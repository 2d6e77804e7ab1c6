import { parse } from 'jsonc-parser';
import { describe, expect, it } from 'vitest';
import { customerTagsOf } from '../src/domain/policy/identity-tags.ts';
import { digest } from './policy/worlds.ts';
import { BOOK, SHARED_SECRET, World } from './support/world.ts';

const NAMES = ['acme', 'globex'] as const;
const [acme, globex] = NAMES.map((name) => customerTagsOf({ customerId: name, tailnetName: name }, digest));
const call = () => ({ signal: AbortSignal.timeout(5_000) });

/** Two customers with the same networks in one tailnet, each with a book that is connected. */
async function openShared(): Promise<World> {
  const world = new World({ settings: { sharedCredentialSecretName: SHARED_SECRET, tenancy: 'shared' } });
  await world.manager.start();
  await world.addShared();
  for (const customerId of NAMES) {
    await world.cluster.createNamespace({ name: customerId, customerId });
    await world.manager.createTailnet({ customerId, tailnetName: customerId, config: { allowedNetworks: ['10.0.0.0/8'], blockedNetworks: [] } });
    await world.until(async () => (await world.tailnet(customerId))?.state.phase === 'active');
    await world.addBook({ namespace: customerId, name: 'book', labels: {} });
    await world.manager.attachSidecar({ ...BOOK, bookDeploymentId: `${customerId}/book`, tailnetName: customerId });
  }
  await world.until(async () => (await world.sidecars()).every(({ state }) => state.phase === 'connected'));
  return world;
}

async function addGrant(world: World, grant: object): Promise<void> {
  const [credential] = world.credentials;
  if (credential === undefined) throw new Error('no shared tailnet');
  const control = world.controlPlane.tailnet({ credential });
  const { text, etag } = await control.readPolicy(call());
  const policy = parse(text) as { readonly grants: readonly object[] };
  await control.writePolicy(JSON.stringify({ ...policy, grants: [grant, ...policy.grants], tests: [] }), etag, call());
}

describe('the proof of a tailnet that customers share', () => {
  it('passes on what is written for them', async () => {
    await using world = await openShared();
    const { proof } = await world.manager.proveIsolation();
    expect(proof).toMatchObject({ verdict: 'apart', customers: 2, pairs: 2, tailnets: 2, sidecars: 2, findings: [] });
    expect(proof.layers.find(({ layer }) => layer === 'tailnet-policy')).toMatchObject({ assurance: 'enforced', judged: 1 });
    expect(proof.inputs.filter(({ from }) => from === 'control-plane').map(({ name }) => name)).toEqual(['devices (shared)', 'policy (shared)']);
  });

  it('names a foreign grant by which one reaches the other’s routers, and the two', async () => {
    await using world = await openShared();
    await addGrant(world, { src: [acme?.customer], dst: [globex?.router], ip: ['*'] });
    const finding = { kind: 'reaches-other-customer', customerId: 'acme', otherCustomerId: 'globex', by: 'grants.0', where: 'policy (shared)' };
    expect((await world.manager.proveIsolation()).proof.findings).toContainEqual(expect.objectContaining(finding));
  });

  it('names a grant of a network without the way by the own router: both have that network', async () => {
    await using world = await openShared();
    await addGrant(world, { src: [globex?.customer], dst: ['10.1.0.0/16'], ip: ['tcp:443'] });
    const finding = { kind: 'reaches-other-customer', customerId: 'globex', otherCustomerId: 'acme', by: 'grants.0' };
    expect((await world.manager.proveIsolation()).proof.findings).toContainEqual(expect.objectContaining(finding));
  });

  it('bug: accuses nobody of the devices that a customer has there while its tailnet is being deleted', async () => {
    await using world = await openShared();
    world.manager.setReadOnly(true); // it stays on its way out
    const { controlId = '' } = (await world.tailnet('globex'))?.state ?? {};
    const router = (tags: readonly (string | undefined)[]) =>
      world.control.addDevice({ controlId, hostname: 'gateway', tags: tags.filter((tag) => tag !== undefined) });
    router([globex?.router]);
    await world.store.tailnets.remove('globex', call());
    expect((await world.manager.proveIsolation()).proof).toMatchObject({ verdict: 'apart', tailnets: 1, findings: [] });
    // Its tags are still nobody else's to carry.
    router([globex?.router, acme?.router]);
    const finding = { kind: 'foreign-tag', by: expect.stringContaining('gateway') };
    expect((await world.manager.proveIsolation()).proof.findings).toEqual([expect.objectContaining(finding)]);
  });

  it('bug: tells two tailnets of one customer apart there, as the write does', async () => {
    await using world = await openShared();
    await world.manager.createTailnet({
      customerId: 'acme',
      tailnetName: 'acme-2',
      config: { allowedNetworks: ['10.0.0.0/8'], blockedNetworks: [] },
    });
    await world.until(async () => (await world.tailnet('acme-2'))?.state.phase === 'active');
    await world.quiet();
    expect((await world.manager.proveIsolation()).proof).toMatchObject({ verdict: 'apart', customers: 2, tailnets: 3, findings: [] });
    const second = customerTagsOf({ customerId: 'acme', tailnetName: 'acme-2' }, digest);
    await addGrant(world, { src: [acme?.customer], dst: [second.router], ip: ['*'] });
    const finding = { kind: 'reaches-other-customer', tailnetName: 'acme', customerId: 'acme', otherCustomerId: 'acme', by: 'grants.0' };
    expect((await world.manager.proveIsolation()).proof.findings).toContainEqual(expect.objectContaining(finding));
  });
});
