import type { AttachSidecarInput, CreateTailnetInput } from '@bifrost/types';
import { describe, expect, it } from 'vitest';
import { expectRefused } from './support/refused.ts';
import { ACME, BOOK, type Opened, openWorld, refusal, World } from './support/world.ts';

const create = (change: Partial<CreateTailnetInput>) => (world: Opened) => world.manager.createTailnet({ ...ACME, ...change });
const attach = (change: Partial<AttachSidecarInput>) => (world: Opened) => world.manager.attachSidecar({ ...BOOK, ...change });

describe('createTailnet refuses', () => {
  const cases: readonly [string, (world: Opened) => Promise<unknown>, string, readonly string[]][] = [
    [
      'bad ranges',
      create({ tailnetName: 'new', config: { allowedNetworks: ['10.0.0.0/8', '10.0.0.300/8', '10.0.0.1/8', '0.0.0.0/0'] } }),
      'INVALID_ARGUMENT',
      ['config.allowedNetworks.1', 'config.allowedNetworks.2', 'config.allowedNetworks.3'],
    ],
    ['a name that is no label', create({ tailnetName: 'Acme Corp' }), 'INVALID_ARGUMENT', ['tailnetName']],
    ['a customer that is no label value', create({ tailnetName: 'new', customerId: 'acme\ncorp' }), 'INVALID_ARGUMENT', ['customerId']],
    ['a misspelt option', create({ tailnetName: 'new', tag: ['x'] } as never), 'INVALID_ARGUMENT', ['tag']],
    [
      'an unknown policy',
      create({ tailnetName: 'new', config: { allowedNetworks: [], accessPolicy: 'open' as never } }),
      'INVALID_ARGUMENT',
      ['config.accessPolicy'],
    ],
    ['no request at all', (world) => world.manager.createTailnet(undefined as never), 'INVALID_ARGUMENT', ['']],
    [
      'a credential for a tailnet of ours',
      create({ tailnetName: 'new', tenancy: 'organization', credential: { secretName: 'x' } }),
      'INVALID_ARGUMENT',
      ['credential'],
    ],
    [
      'a customer whose id cannot name a Secret',
      create({ tailnetName: 'new', customerId: 'Acme_Corp' }),
      'INVALID_ARGUMENT',
      ['credential.secretName'],
    ],
    ['a name that is taken, with another config', create({ config: { allowedNetworks: ['10.1.0.0/16'] } }), 'TAILNET_EXISTS', ['tailnetName']],
    ['a name that another customer has', create({ customerId: 'globex' }), 'TAILNET_EXISTS', ['tailnetName']],
  ];
  it.each(cases)('%s', async (_, call, code, paths) => {
    await using world = await openWorld();
    await expectRefused(world, () => call(world), { code, paths });
  });

  it('without telling whose name it is', async () => {
    await using world = await openWorld();
    const error = await expectRefused(world, () => create({ customerId: 'globex' })(world), { code: 'TAILNET_EXISTS' });
    expect(JSON.stringify(error)).not.toContain('acme-corp"');
    expect(`${error.message}${JSON.stringify(error.details)}`).not.toContain('acme');
  });

  it('a name whose tailnet is being deleted, until it is gone', async () => {
    await using world = await openWorld();
    await world.manager.attachSidecar(BOOK);
    await world.manager.deleteTailnet('acme-corp-production', { cascade: true });
    expect(await refusal(world.manager.createTailnet(ACME))).toMatchObject({ code: 'TAILNET_DELETING', retry: 'backoff' });
    await world.until(async () => (await world.tailnet()) === undefined);
    await expect(world.manager.createTailnet(ACME)).resolves.toMatchObject({ status: 'creating' });
  });

  it('nothing when the same is asked again: the same tailnet is the answer', async () => {
    await using world = await openWorld();
    const before = await world.snapshot();
    const first = await world.manager.getTailnet('acme-corp-production');
    expect(await world.manager.createTailnet(structuredClone(ACME))).toMatchObject({
      tailnetId: first.tailnetId,
      createdAt: first.createdAt,
      created: false,
    });
    expect(await Promise.all([1, 2, 3].map(async () => (await world.manager.createTailnet(ACME)).tailnetId))).toEqual(Array(3).fill(first.tailnetId));
    await world.run(2_000);
    expect(await world.snapshot()).toEqual(before);
    expect(world.names('tailnet:')).toEqual(['tailnet:created', 'tailnet:activated']);
  });

  it('at once, when two callers want one name: one tailnet comes of it', async () => {
    await using world = new World();
    await world.manager.start();
    await world.addCustomer('acme-corp');
    const results = await Promise.allSettled([
      world.manager.createTailnet(ACME),
      world.manager.createTailnet(ACME),
      create({ customerId: 'globex' })(world as Opened),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected']);
    const ids = new Set(results.flatMap((result) => (result.status === 'fulfilled' ? [(result.value as { tailnetId: string }).tailnetId] : [])));
    expect(ids.size).toBe(1);
    expect(results.filter((result) => result.status === 'fulfilled' && (result.value as { created: boolean }).created)).toHaveLength(1);
    expect(world.names('tailnet:created')).toHaveLength(1);
  });
});

describe('other calls refuse', () => {
  it.each(['nobody', '', '../x', 'Ü', undefined])('an unknown tailnet: %j', async (name) => {
    await using world = await openWorld();
    const { manager } = world;
    for (const call of [() => manager.getTailnet(name as string), () => manager.getNetworkStatus(name as string)]) {
      await expectRefused(world, call, { code: 'TAILNET_NOT_FOUND', paths: ['tailnetName'], audited: false });
    }
    await expectRefused(world, () => manager.deleteTailnet(name as string), { code: 'TAILNET_NOT_FOUND', paths: ['tailnetName'] });
  });

  it('an unknown sidecar', async () => {
    await using world = await openWorld();
    await expectRefused(world, () => world.manager.detachSidecar('0b7c0e4e-3d0f-8a55-8a4b-5a1fb0c2d9e1'), {
      code: 'SIDECAR_NOT_FOUND',
      paths: ['sidecarId'],
    });
    await expectRefused(world, () => world.manager.detachSidecar(undefined as never), { code: 'SIDECAR_NOT_FOUND', paths: ['sidecarId'] });
  });

  it('to delete a tailnet with sidecars', async () => {
    await using world = await openWorld();
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    await expectRefused(world, () => world.manager.deleteTailnet('acme-corp-production'), { code: 'TAILNET_IN_USE', paths: ['tailnetName'] });
  });

  it('everything while the record cannot be written; a refusal keeps its own code', async () => {
    await using world = await openWorld();
    const before = await world.snapshot([world.book]);
    for (const call of [attach({}), create({ tailnetName: 'new' }), (w: Opened) => w.manager.deleteTailnet('acme-corp-production')]) {
      world.audit.failNext('INTERNAL');
      expect(await refusal(call(world))).toMatchObject({ code: 'INTERNAL' });
    }
    await world.run(2_000);
    expect(await world.snapshot([world.book])).toEqual(before);
    world.audit.failNext('INTERNAL');
    expect(await refusal(attach({ tailnetName: 'nobody' })(world))).toMatchObject({ code: 'TAILNET_NOT_FOUND' });
    expect(world.logger.lines.some(({ message }) => message === 'a refusal could not be recorded')).toBe(true);
  });
});

describe('a name that is free again between looking and finding', () => {
  it('bug: is a call to be made again, not a lasting refusal', async () => {
    await using world = await openWorld();
    world.guard.hook = ({ name }) => {
      if (name === 'store.tailnets.create' || name === 'store.sidecars.create') world.store.failNext('STORE_EXISTS');
      return undefined;
    };
    expect(await refusal(create({ tailnetName: 'new' })(world))).toMatchObject({ code: 'STORE_CONFLICT', retry: 'backoff' });
    expect(await refusal(attach({})(world))).toMatchObject({ code: 'STORE_CONFLICT', retry: 'backoff' });
  });
});
