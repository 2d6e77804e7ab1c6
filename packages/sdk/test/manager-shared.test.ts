import { parse } from 'jsonc-parser';
import { describe, expect, it } from 'vitest';
import { type JudgedDevice, judgePacket, readPolicy } from '../src/domain/policy/judge-policy.ts';
import { NAMES, openShared, SharedWorld, tagsOf } from './support/shared-world.ts';
import { ACME, BOOK, BOOK_TAG, World } from './support/world.ts';

const call = () => ({ signal: AbortSignal.timeout(5_000) });
describe('two customers with the same networks in one tailnet', () => {
  it('each reaches what is behind its own router alone', async () => {
    await using world = await openShared();
    const ways = NAMES.flatMap((from) => NAMES.map((to) => [from, to] as const));
    for (const [from, to] of ways) {
      expect([from, to, await world.verdict(from, to, '10.1.0.10')]).toEqual([from, to, from === to ? 'allowed' : 'denied']);
      expect([from, to, await world.verdict(from, to, '10.99.0.1')]).toEqual([from, to, 'denied']);
    }
    expect((await world.manager.proveIsolation()).proof).toMatchObject({ verdict: 'apart', findings: [] });
    expect(world.control.devices().filter(({ tags }) => tags.includes(BOOK_TAG))).toEqual([]); // of all customers: that would tell nobody from another
  });

  it('each has the hostname that it asks for; who detaches takes the own device alone', async () => {
    await using world = await openShared();
    const books = () => world.control.devices(world.controlId).filter(({ hostname }) => hostname === 'book');
    expect(books().map(({ tags }) => tags[0])).toEqual(NAMES.map((name) => tagsOf(name).customer));
    const [sidecar] = await world.manager.listSidecars({ tailnetName: 'acme' });
    await world.manager.detachSidecar(sidecar?.sidecarId ?? '');
    await world.until(async () => (await world.sidecars()).length === 1);
    expect(books().map(({ tags }) => tags[0])).toEqual([tagsOf('globex').customer]);
    await world.run(300_000);
    expect(books()).toHaveLength(1);
    expect(await world.manager.listLeftovers()).toEqual([]);
  });

  it('the twin: in one’s own tailnet it is taken', async () => {
    await using world = await openShared();
    await world.addBook({ namespace: 'acme', name: 'second', labels: {} });
    const wish = { ...BOOK, bookDeploymentId: 'acme/second', tailnetName: 'acme', config: { ...BOOK.config, hostname: 'book' } };
    await expect(world.manager.attachSidecar(wish)).rejects.toMatchObject({ code: 'HOSTNAME_TAKEN' });
  });

  it('a route that one’s book offers is approved, whatever another’s router has; nothing that one is told names another’s machine', async () => {
    await using world = await openShared();
    const { router } = tagsOf('globex');
    world.control.addDevice({ controlId: world.controlId, hostname: 'far-router', tags: [router], advertiseRoutes: ['192.168.7.0/24'] });
    await world.addBook({ namespace: 'acme', name: 'offers', labels: {} });
    const config = { ...BOOK.config, hostname: 'offers', advertiseRoutes: ['192.168.7.0/24'] };
    const { sidecarId } = await world.manager.attachSidecar({ ...BOOK, bookDeploymentId: 'acme/offers', tailnetName: 'acme', config });
    await world.until(() => world.control.devices().find(({ hostname }) => hostname === 'offers')?.enabledRoutes.length === 1);
    const answer = await world.manager.explain({ sidecarId, to: '10.1.0.10', port: 443, protocol: 'tcp' });
    expect(JSON.stringify(answer)).toContain('router-acme');
    expect(JSON.stringify([answer, await world.manager.listSidecars({ tailnetName: 'acme' })])).not.toMatch(/globex|far-router/);
  });

  it('bug: two tailnets of one customer are as far apart as two customers', async () => {
    await using world = await openShared();
    await world.tailnetFor('acme', { tailnetName: 'acme-trial', networks: ['172.16.0.0/16'] });
    await world.join('acme', { tailnetName: 'acme-trial', name: 'trial' }); // with the hostname of the other tailnet's book
    const policy = readPolicy(await world.text());
    const device = (tag: string): JudgedDevice => ({ tags: [tag], addresses: [], routes: [] });
    const verdict = (tailnetName: string): string | undefined =>
      policy &&
      judgePacket(policy, {
        from: device(tagsOf('acme', tailnetName).customer),
        to: device(tagsOf('acme').router),
        ...{ address: '10.1.0.10', port: 443, protocol: 'tcp' },
      }).verdict;
    expect([verdict('acme'), verdict('acme-trial')]).toEqual(['allowed', 'denied']);
  });
});

describe('the policy that they share', () => {
  const drifts = (world: World) => world.names('policy:');
  /** With one rule more, and without the tests that the server would refuse it by. */
  const opened = (text: string, grant: object): string => {
    const policy = parse(text, [], { allowTrailingComma: true });
    return JSON.stringify({ ...policy, grants: [grant, ...policy.grants], tests: [] });
  };

  it('is written by one at a time, and once for those that come together', async () => {
    await using world = new SharedWorld();
    await world.open();
    let [under, most, writes] = [0, 0, 0];
    world.guard.hook = async ({ name }) => {
      if (name !== 'controlPlane.tailnet.writePolicy') return undefined;
      writes += 1;
      under += 1;
      most = Math.max(most, under);
      await world.clock.sleep(200, call());
      under -= 1;
      return undefined;
    };
    const customers = Array.from({ length: 20 }, (_, index) => `customer-${index}`);
    for (const customerId of customers) await world.tailnetFor(customerId, { awaited: false });
    await world.until(async () => (await Promise.all(customers.map((name) => world.tailnet(name)))).every((one) => one?.state.phase === 'active'));
    expect(most).toBe(1);
    expect(writes).toBeLessThanOrEqual(3);
    for (const customerId of customers) expect(await world.text()).toContain(tagsOf(customerId).customer);
    const [reads] = [world.guard.names.filter((name) => name.endsWith('readPolicy')).length];
    await world.run(60_000);
    expect(world.guard.names.filter((name) => name.endsWith('readPolicy')).length - reads).toBeLessThanOrEqual(3); // not by each of them
  });

  it('comes back when somebody changes our entries, which is told; the platform’s own stay', async () => {
    await using world = await openShared();
    await world.edit((text) => text.replace(/"grants": ?\[/, '"grants": [ // ours\n{ "src": ["tag:ops"], "dst": ["tag:ops"], "ip": ["*"] },'));
    await world.run(120_000);
    expect(drifts(world)).toEqual([]);
    expect(await world.text()).toContain('// ours');
    const opens = JSON.stringify({ src: [tagsOf('acme').customer], dst: [tagsOf('globex').router], ip: ['*'] });
    await world.edit((text) => opened(text, JSON.parse(opens)));
    await world.until(async () => !(await world.text()).includes(opens));
    await world.quiet();
    expect(drifts(world)).toEqual(['policy:drifted']);
  });

  it('is not written while a rule of somebody’s opens one to another: that is told, without names, until it is narrowed', async () => {
    await using world = await openShared();
    await world.edit((text) => opened(text, { src: ['autogroup:tagged'], dst: ['*'], ip: ['*'] }));
    const before = await world.text();
    await world.manager.updateTailnet({ tailnetName: 'acme', config: { allowedNetworks: ['10.20.0.0/16'] }, allowRollout: true });
    await world.until(async () => (await world.tailnet('acme'))?.state.phase === 'degraded');
    await world.run(120_000);
    expect(await world.text()).toBe(before);
    const { reason } = await world.manager.getTailnet('acme');
    expect(reason).toMatchObject({ code: 'ISOLATION_VIOLATED', message: expect.stringContaining('grants.0') });
    expect(reason?.message).not.toMatch(/globex/);
    expect((await world.tailnet('globex'))?.state.phase).toBe('active'); // whose part is in force
    await world.edit((text) => text.replace(/\{[^{}]*autogroup:tagged[^{}]*\},/, ''));
    await world.until(async () => (await world.tailnet('acme'))?.state.phase === 'active');
    expect(await world.text()).toContain('10.20.0.0/16');
  });

  it('is not written into one that allows everything, from the first customer on', async () => {
    await using world = new SharedWorld();
    await world.open({ grants: [{ src: ['*'], dst: ['*'], ip: ['*'] }] });
    await world.cluster.createNamespace({ name: 'acme', customerId: 'acme' });
    await world.tailnetFor('acme', { awaited: false });
    await world.until(async () => (await world.tailnet('acme'))?.state.phase === 'failed');
    expect((await world.manager.getTailnet('acme')).reason).toMatchObject({ code: 'ISOLATION_VIOLATED' });
    await world.edit((text) => text.replace('{"src":["*"],"dst":["*"],"ip":["*"]}', ''));
    await world.until(async () => (await world.tailnet('acme'))?.state.phase === 'active');
  });

  it('says of one that is paused, or whose specification is refused, what it said before', async () => {
    await using world = await openShared();
    const acme = (text: string): unknown[] => parse(text).grants.filter(({ src }: { src: string[] }) => src.includes(tagsOf('acme').customer));
    const before = acme(await world.text());
    await world.manager.pauseTailnet('acme');
    await world.manager.updateTailnet({ tailnetName: 'acme', config: { allowedNetworks: ['10.20.0.0/16'] }, allowRollout: true });
    await world.manager.updateTailnet({ tailnetName: 'globex', config: { allowedNetworks: ['10.30.0.0/16'] }, allowRollout: true });
    await world.until(async () => (await world.text()).includes('10.30.0.0/16'));
    expect(acme(await world.text())).toEqual(before);
    const paused = await world.tailnet('acme');
    if (paused === undefined) throw new Error('it is gone');
    const config = { ...paused.spec.config, allowedNetworks: ['nowhere'] };
    const { paused: _, ...spec } = paused.spec;
    await world.store.tailnets.replaceSpec(paused, { ...spec, config }, call());
    await world.manager.updateTailnet({ tailnetName: 'globex', config: { allowedNetworks: ['10.40.0.0/16'] }, allowRollout: true });
    await world.until(async () => (await world.text()).includes('10.40.0.0/16'));
    expect(acme(await world.text())).toEqual(before);
    expect((await world.manager.getTailnet('acme')).reason).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

describe('deleting a tailnet that others share', () => {
  it('takes its entries, keys and machines, and leaves the others’, and the tailnet itself', async () => {
    await using world = await openShared();
    const { router } = tagsOf('acme');
    const { key } = await world
      .sharedControl()
      .createKey({ description: 'router of acme', tags: [router], reusable: true, ephemeral: false, lifetimeSeconds: 3_600 }, call());
    expect(key).toBeDefined();
    await world.manager.deleteTailnet('acme', { cascade: true });
    await world.until(async () => (await world.tailnet('acme')) === undefined);
    const ofOthers = (tags: readonly string[]): boolean => tags.some((tag) => Object.values<string>({ ...tagsOf('globex') }).includes(tag));
    expect(world.control.devices(world.controlId).map(({ tags }) => ofOthers(tags))).toEqual([true, true]);
    expect(world.control.keys(world.controlId).map(({ tags }) => ofOthers(tags))).toEqual([true]);
    expect(await world.text()).not.toContain('acme');
    expect(await world.verdict('globex', 'globex', '10.1.0.10')).toBe('allowed');
    await world.manager.deleteTailnet('globex', { cascade: true });
    await world.until(async () => (await world.tailnet('globex')) === undefined);
    expect(parse(await world.text())).toMatchObject({ tagOwners: { [BOOK_TAG]: ['autogroup:admin'], 'tag:ops': [] }, grants: [] });
    expect(world.control.tailnets().map(({ displayName }) => displayName)).toContain('shared');
    expect(await world.manager.listLeftovers()).toEqual([]);
  });
});

describe('an installation without such a tailnet', () => {
  it('refuses the tenancy', async () => {
    await using world = new World();
    await world.manager.start();
    const wish = { ...ACME, tenancy: 'shared' } as const;
    await expect(world.manager.createTailnet(wish)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', issues: [{ path: 'tenancy' }] });
    const config = { ...ACME.config, allowedNetworks: ['10.0.0.0/8'] };
    const stored = { tailnetId: 'id', customerId: 'acme-corp', config, tags: [], tenancy: 'shared', credentialSecretName: 'bifrost-tailnet-id' };
    await world.store.tailnets.create('by-hand', { spec: stored as never, state: { phase: 'creating' } }, call());
    await world.until(async () => (await world.tailnet('by-hand'))?.state.phase === 'failed');
    expect((await world.tailnet('by-hand'))?.state.reason).toMatchObject({ code: 'CONTROL_CREDENTIALS_INVALID', path: 'tenancy' });
  });

  it.each([{ credential: { secretName: 'theirs' } }, { managePolicy: true }])('and a shared one takes no %j', async (extra) => {
    await using world = new SharedWorld();
    await world.open();
    await expect(world.manager.createTailnet({ ...ACME, ...extra })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});
