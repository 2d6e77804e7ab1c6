import { BifrostError } from '@bifrost/types/core';
import { parse } from 'jsonc-parser';
import { describe, expect, it } from 'vitest';
import { customerTagsOf } from '../src/domain/policy/identity-tags.ts';
import { digest } from './policy/worlds.ts';
import { OWN_POLICY, policyOf } from './support/own-policy.ts';
import { ACME, BOOK, BOOK_TAG, World, type WorldOptions } from './support/world.ts';

const tailnetName = ACME.tailnetName;
const CUSTOMER = customerTagsOf({ customerId: 'acme-corp', tailnetName }, digest).customer;
const IDENTITY = /bifrost-(customer|router|book)-/;

const call = () => ({ signal: AbortSignal.timeout(5_000) });
const phase = (wanted: string) => async (world: World) => (await world.tailnet())?.state.phase === wanted;
const connected = (world: World) => async (): Promise<boolean> => (await world.sidecars())[0]?.state.phase === 'connected';
const managed = async (world: World) => (await world.manager.getTailnet(tailnetName)).conditions.find(({ type }) => type === 'PolicyManaged');
const read = (text: string) => parse(text, [], { allowTrailingComma: true });

async function open({
  policy = OWN_POLICY,
  managePolicy = true,
  scopes,
  settings = {},
}: {
  settings?: WorldOptions['settings'];
  policy?: string;
  managePolicy?: boolean;
  scopes?: readonly string[];
} = {}) {
  const world = new World({ settings });
  await world.manager.start();
  await world.addCustomer('acme-corp', { policy, ...(scopes === undefined ? {} : { scopes }) });
  await world.addBook();
  await world.manager.createTailnet({ ...ACME, managePolicy });
  return world;
}

describe('a customer’s own tailnet whose policy we are asked to keep', () => {
  it('has our entries beside the customer’s, which stay to the letter; its books are told apart by tags that our client may give', async () => {
    await using world = await open();
    await world.until(() => phase('active')(world));
    await world.manager.attachSidecar(BOOK);
    await world.until(connected(world));
    const text = await policyOf(world).text();
    expect(text).toContain("// the customer's own");
    expect(read(text).grants).toEqual([read(OWN_POLICY).grants[0], { src: [BOOK_TAG, CUSTOMER], dst: expect.any(Array), ip: ['*'] }]);
    expect(read(text).tagOwners).toMatchObject({ [BOOK_TAG]: ['autogroup:admin'], [CUSTOMER]: [BOOK_TAG] });
    expect(world.control.devices()[0]?.tags).toEqual([BOOK_TAG, CUSTOMER, expect.stringMatching(IDENTITY)]);
    expect(await managed(world)).toMatchObject({ status: 'True' });
    expect(await world.manager.getTailnet(tailnetName)).toMatchObject({ managePolicy: true });
  });

  it('comes back when the customer takes ours out, and loses them when it is deleted: the customer’s stay', async () => {
    await using world = await open();
    await world.until(() => phase('active')(world));
    await policyOf(world).edit(() => OWN_POLICY);
    await world.until(async () => IDENTITY.test(await policyOf(world).text()));
    await world.quiet();
    expect(world.names('policy:')).toEqual(['policy:drifted']);
    await world.manager.deleteTailnet(tailnetName);
    await world.until(async () => (await world.tailnet()) === undefined);
    const left = await policyOf(world).text();
    expect(left).toContain("// the customer's own");
    expect({ ...read(left), autoApprovers: undefined, tests: undefined }).toEqual({ ...read(OWN_POLICY) });
    expect(left).not.toMatch(IDENTITY);
  });

  it('is left alone again when that is asked for: keys lose those tags, then the policy its entries', async () => {
    await using world = await open();
    await world.until(() => phase('active')(world));
    await world.manager.attachSidecar(BOOK);
    await world.until(connected(world));
    await world.manager.updateTailnet({ tailnetName, managePolicy: false });
    await world.until(async () => !IDENTITY.test(await policyOf(world).text()));
    await world.until(async () => (await world.sidecars())[0]?.state.keys.at(-1)?.tags === undefined);
    expect((await world.tailnet())?.state).not.toHaveProperty('policyHash');
    expect(await managed(world)).toBeUndefined();
    await world.manager.updateTailnet({ tailnetName, managePolicy: true });
    await world.until(async () => IDENTITY.test(await policyOf(world).text()));
    await world.until(async () => (await world.sidecars())[0]?.state.keys.at(-1)?.tags?.length === 2);
  });

  it('bug: a plan names the entries that would be taken out or put in; out only with confirm while peers are in use', async () => {
    await using world = await open();
    await world.until(() => phase('active')(world));
    await world.manager.attachSidecar(BOOK);
    await world.until(connected(world));
    await world.quiet();
    const router = { id: 'n1', name: 'n1.example.net', online: true, path: 'direct', rx_bytes: 100, tx_bytes: 0, routes: ['10.1.0.0/16'] };
    const peers = [{ ...router, last_handshake_at_ms: world.clock.nowMs() - 1_000 }];
    for (const agent of world.agents.all) await agent.report('heartbeat', { peers });
    const off = { tailnetName, managePolicy: false };
    const plan = await world.manager.planUpdateTailnet(off);
    const grant = expect.stringMatching(/^grants .*10\.0\.0\.0\/10/);
    expect(plan.outputs).toMatchObject([{ output: 'tailnet-policy', added: [], removed: expect.arrayContaining([grant]) }]);
    expect(plan).toMatchObject({ changes: ['managePolicy'], livePeers: { total: 1, lost: 1, losing: [{ peerId: 'n1', loss: 'all' }] } });
    await expect(world.manager.updateTailnet(off)).rejects.toMatchObject({ code: 'CONFIRM_REQUIRED', details: { peerIds: 'n1' } });
    await world.manager.updateTailnet({ ...off, confirm: true });
    await world.until(async () => !IDENTITY.test(await policyOf(world).text()));
    const on = await world.manager.planUpdateTailnet({ tailnetName, managePolicy: true });
    expect(on.outputs).toMatchObject([{ output: 'tailnet-policy', added: expect.arrayContaining([grant]), removed: [] }]);
    expect(on).not.toHaveProperty('livePeers');
    await world.manager.updateTailnet({ tailnetName, managePolicy: true });
  });

  it('bug: also where the manager died before it had on record that it wrote', async () => {
    const world = new World();
    await using _world = world;
    await world.manager.start();
    await world.addCustomer('acme-corp', { policy: OWN_POLICY });
    let death: Promise<void> | undefined;
    const die = (): void => {
      death = world.manager.stop(); // not awaited: the stop waits for this very call
    };
    world.guard.hook = ({ name }) => (name === 'controlPlane.tailnet.writePolicy' && death === undefined ? die : undefined);
    await world.manager.createTailnet({ ...ACME, managePolicy: true });
    await world.until(() => death !== undefined);
    await death;
    expect(await policyOf(world).text()).toMatch(IDENTITY);
    const stored = await world.tailnet();
    if (stored === undefined) throw new BifrostError({ code: 'INTERNAL', message: 'it is gone' });
    await world.store.tailnets.replaceSpec(stored, { ...stored.spec, managePolicy: false }, call());
    await world.restart();
    await world.until(async () => !IDENTITY.test(await policyOf(world).text()));
  });

  it('two of one customer’s tailnets that are the same there have their entries beside each other', async () => {
    await using world = await open();
    const config = { allowedNetworks: ['172.16.0.0/16'] };
    await world.manager.createTailnet({ customerId: 'acme-corp', tailnetName: 'second', config, managePolicy: true });
    await world.until(async () => (await world.tailnet('second'))?.state.phase === 'active');
    await world.until(() => phase('active')(world));
    await world.run(180_000);
    const text = await policyOf(world).text();
    for (const network of ['10.0.0.0/10', '172.16.0.0/16']) expect(text).toContain(network);
    const sources = read(text).grants.flatMap(({ src }: { src: string[] }) => src);
    expect(sources).not.toContain(BOOK_TAG); // what all books carry tells none of the two
    expect((await world.manager.proveIsolation()).proof.findings).toEqual([]);
    expect(world.names('policy:')).toEqual([]); // neither takes the other's for its own
    await world.manager.deleteTailnet('second');
    await world.until(async () => (await world.tailnet('second')) === undefined);
    expect(await policyOf(world).text()).not.toContain('172.16.0.0/16');
    expect(await policyOf(world).text()).toContain('10.0.0.0/10');
  });
});

describe('two of one customer’s tailnets that are two there, too', () => {
  it('bug: of the same edit in both it is told in both', async () => {
    await using world = await open({ settings: { repairPolicy: false } });
    const { credential } = world.control.addTailnet({ displayName: 'other', tags: [BOOK_TAG], policy: OWN_POLICY });
    const data = { client_id: credential.clientId, client_secret: credential.clientSecret.reveal() };
    await world.cluster.createSecret({ namespace: 'bifrost', name: 'other-client', data });
    await world.manager.createTailnet({ ...ACME, tailnetName: 'other', managePolicy: true, credential: { secretName: 'other-client' } });
    for (const name of [tailnetName, 'other']) await world.until(async () => (await world.tailnet(name))?.state.phase === 'active');
    await policyOf(world).edit(() => OWN_POLICY);
    const other = world.controlPlane.tailnet({ credential });
    await other.writePolicy(OWN_POLICY, (await other.readPolicy(call())).etag, call());
    await world.run(180_000);
    const told = world.events.filter(({ name }) => name === 'policy:drifted').map(({ event }) => 'tailnetName' in event && event.tailnetName);
    expect(told.sort()).toEqual([tailnetName, 'other']);
  });
});

describe('two of one customer’s tailnets with a client each, that are the same there', () => {
  async function both(world: World): Promise<void> {
    const [credential] = world.credentials;
    if (credential === undefined) throw new BifrostError({ code: 'INTERNAL', message: 'no customer' });
    const data = { client_id: credential.clientId, client_secret: credential.clientSecret.reveal() };
    await world.cluster.createSecret({ namespace: 'bifrost', name: 'another-client', data });
    const config = { allowedNetworks: ['172.16.0.0/16'] };
    const second = { customerId: 'acme-corp', tailnetName: 'second', config, managePolicy: true, credential: { secretName: 'another-client' } };
    await world.until(() => phase('active')(world));
    await world.manager.createTailnet(second);
    await world.until(async () => (await world.tailnet('second'))?.state.phase === 'active');
  }
  /** Of each write, whether it takes out what is of the first one. */
  function watchLosses(world: World, told?: object): readonly boolean[] {
    const losses: boolean[] = [];
    world.guard.hook = async ({ name }) => {
      if (told !== undefined && name === 'controlPlane.tailnet.describe') return { old: told };
      if (name !== 'store.tailnets.replaceState' && name !== 'controlPlane.tailnet.listDevices') return undefined;
      losses.push(!(await policyOf(world).text()).includes(CUSTOMER));
      return undefined;
    };
    return losses;
  }

  it('bug: the first round of the second leaves the entries of the first', async () => {
    await using world = await open();
    await world.until(() => phase('active')(world));
    const losses = watchLosses(world);
    await both(world);
    await world.run(180_000);
    expect(losses).not.toContain(true);
    const text = await policyOf(world).text();
    for (const network of ['10.0.0.0/10', '172.16.0.0/16']) expect(text).toContain(network);
    expect(world.names('policy:')).toEqual([]);
    expect((await world.tailnet('second'))?.state.controlId).toBe((await world.tailnet())?.state.controlId);
  });

  it('bug: also while neither has a device, by which alone it is told which one it is; each takes out its own when it is deleted', async () => {
    await using world = await open();
    await world.until(() => phase('active')(world));
    const losses = watchLosses(world, { controlId: '-', dnsName: undefined });
    await both(world);
    await world.run(180_000);
    expect(losses).not.toContain(true);
    expect(world.names('policy:')).toEqual([]);
    await world.manager.deleteTailnet('second');
    await world.until(async () => (await world.tailnet('second')) === undefined);
    const text = await policyOf(world).text();
    expect(text).not.toContain('172.16.0.0/16');
    expect(text).toContain('10.0.0.0/10');
  });
});

describe('a customer’s policy that does not take our entries', () => {
  it('since a rule of the customer’s opens what is blocked: POLICY_REFUSED, until it is narrowed', async () => {
    await using world = await open({
      policy: OWN_POLICY.replace('"src": ["tag:office"]', '"src": ["*"]').replace('"dst": ["tag:office"]', '"dst": ["*"]'),
    });
    await world.until(() => phase('failed')(world));
    expect((await world.manager.getTailnet(tailnetName)).reason).toMatchObject({ code: 'POLICY_REFUSED' });
    await policyOf(world).edit(() => OWN_POLICY);
    await world.until(() => phase('active')(world));
  });

  it('since it has no rules at all, which allows everything: with ours alone all else would be denied', async () => {
    const policy = `{ "tagOwners": { "${BOOK_TAG}": [] } }`;
    await using world = await open({ policy });
    await world.until(() => phase('failed')(world));
    expect((await world.manager.getTailnet(tailnetName)).reason).toMatchObject({ code: 'POLICY_REFUSED' });
    expect(await policyOf(world).text()).toBe(policy);
  });

  it.each([
    ['may not read it', []],
    ['may not write it', ['policy_file:read']],
  ] as const)('since our client %s: the guard alone holds, keys have no other tags, and the condition says what to do', async (_, scopes) => {
    await using world = await open({ scopes: ['auth_keys', 'devices:core', 'devices:routes', ...scopes] });
    await world.until(() => phase('active')(world));
    await world.manager.attachSidecar(BOOK);
    await world.until(connected(world));
    expect(await managed(world)).toMatchObject({ status: 'False', reason: 'CONTROL_DENIED', message: expect.stringContaining('policy_file') });
    expect(world.control.keys().map(({ tags }) => tags)).toEqual([[BOOK_TAG]]);
    await world.manager.deleteTailnet(tailnetName, { cascade: true });
    await world.until(async () => (await world.tailnet()) === undefined);
  });

  it('and does as soon as our client may: keys get the tags without new pods', async () => {
    await using world = await open({ scopes: ['auth_keys', 'devices:core', 'devices:routes'] });
    await world.until(() => phase('active')(world));
    await world.manager.attachSidecar(BOOK);
    await world.until(connected(world));
    const before = (await world.sidecars())[0]?.state.instances;
    const { controlId } = world.control.tailnets().find(({ displayName }) => displayName === 'acme-corp') ?? { controlId: '' };
    world.control.changeScopes(controlId, ['auth_keys', 'devices:core', 'devices:routes', 'policy_file']);
    await world.until(async () => (await world.sidecars())[0]?.state.keys.at(-1)?.tags?.length === 2);
    expect(await managed(world)).toMatchObject({ status: 'True' });
    expect((await world.sidecars())[0]?.state.instances).toEqual(before);
  });
});

describe('the twin: nobody asks for it', () => {
  it.each([{}, { managePolicy: false }])('%j: the policy stays as it is, and no condition speaks of it', async (wish) => {
    await using world = new World();
    await world.manager.start();
    await world.addCustomer('acme-corp', { policy: OWN_POLICY });
    await world.manager.createTailnet({ ...ACME, ...wish });
    await world.run(120_000);
    expect(await managed(world)).toBeUndefined();
    expect(await policyOf(world).text()).toBe(OWN_POLICY);
    expect(world.guard.names.filter((name) => name.endsWith('Policy'))).toEqual([]);
  });

  it('and nobody can ask for it, or against it, where the tailnet is not the customer’s', async () => {
    await using world = new World();
    await world.manager.start();
    const wish = { ...ACME, tenancy: 'organization' } as const;
    const refused = { code: 'INVALID_ARGUMENT', issues: [{ path: 'managePolicy' }] };
    await expect(world.manager.createTailnet({ ...wish, managePolicy: true })).rejects.toMatchObject(refused);
    await world.manager.createTailnet(wish);
    await expect(world.manager.updateTailnet({ tailnetName, managePolicy: false })).rejects.toMatchObject(refused);
  });
});
