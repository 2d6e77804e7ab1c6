import { describe, expect, it } from 'vitest';
import { ACME, BOOK, type Opened, openWorld, World } from './support/world.ts';

const TAILNET = 'acme-corp-production';
const NOTHING = { devices: 0, keys: 0, secrets: 0, tailnets: 0 };
const stored = async (world: World) => (await world.sidecars())[0];
const connected = (world: World) => async () => (await stored(world))?.state.phase === 'connected';
const WRITES = /attach$|detach$|put$|secrets\.remove$|createKey|revokeKey|deleteDevice|approveRoutes|writePolicy|createTailnet|deleteTailnet/;
const writes = (world: World): readonly string[] => world.guard.names.filter((name) => WRITES.test(name));

async function attached(): Promise<Opened> {
  const world = await openWorld();
  await world.manager.attachSidecar(BOOK);
  await world.until(connected(world));
  return world;
}

describe('a paused tailnet', () => {
  it('is left alone outside, whatever happens; its agents are heard all the same; resumed, everything is made good', async () => {
    await using world = await attached();
    expect(await world.manager.pauseTailnet(TAILNET)).toMatchObject({ paused: true });
    await world.quiet();
    world.guard.names.length = 0;
    await world.cluster.rolloutUndo(world.book);
    await world.run(300_000);
    expect(writes(world)).toEqual([]);
    expect((await world.manager.getTailnet(TAILNET)).conditions).toContainEqual(expect.objectContaining({ type: 'Paused', status: 'True' }));
    expect(world.names()).not.toContain('sidecar:drifted');
    await world.manager.resumeTailnet(TAILNET);
    await world.until(connected(world));
    expect(world.names()).toContain('sidecar:drifted');
    expect((await world.manager.getTailnet(TAILNET)).paused).toBe(false);
  });

  it('takes calls, and acts on them when it is resumed', async () => {
    await using world = await openWorld();
    await world.manager.pauseTailnet(TAILNET);
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    await world.run(120_000);
    expect(await world.outside()).toEqual(NOTHING);
    await world.manager.resumeTailnet(TAILNET);
    await world.until(connected(world));
    await world.manager.pauseTailnet(TAILNET);
    await world.manager.detachSidecar(sidecarId);
    await world.run(120_000);
    expect(await world.outside()).toMatchObject({ devices: 1, keys: 1 });
    await world.manager.resumeTailnet(TAILNET);
    await world.until(async () => (await world.sidecars()).length === 0);
    expect(await world.outside()).toEqual(NOTHING);
  });

  it.each([
    ['by call', (world: Opened) => world.manager.pauseTailnet(TAILNET)],
    [
      'by another hand',
      async (world: Opened) => {
        const call = { signal: AbortSignal.timeout(5_000) };
        const tailnet = await world.store.tailnets.get(TAILNET, call);
        if (tailnet) await world.store.tailnets.replaceSpec(tailnet, { ...tailnet.spec, paused: true }, call);
        await world.run(10);
      },
    ],
  ])('bug: paused in the midst of a round, %s: the round does nothing further', async (_, pause) => {
    await using world = await openWorld();
    let paused = false;
    world.guard.hook = async ({ name }) => {
      if (name !== 'controlPlane.tailnet.createKey' || paused) return undefined;
      paused = true;
      await pause(world);
      return undefined;
    };
    await world.manager.attachSidecar(BOOK);
    await world.run(60_000);
    expect(paused).toBe(true);
    expect(await world.outside()).toMatchObject({ devices: 0, secrets: 0 });
    expect((await world.cluster.readWorkload(world.book)).spec.initContainers).toBeUndefined();
    await world.manager.resumeTailnet(TAILNET);
    await world.until(connected(world));
    expect(await world.outside()).toMatchObject({ devices: 1, keys: 1, secrets: 1 });
  });

  it('another tailnet goes on meanwhile', async () => {
    await using world = await openWorld();
    await world.manager.pauseTailnet(TAILNET);
    await world.addCustomer('globex');
    await world.cluster.createWorkload({ namespace: 'globex', name: 'book' });
    await world.manager.createTailnet({ customerId: 'globex', tailnetName: 'globex', config: { allowedNetworks: [] } });
    await world.manager.attachSidecar({ bookDeploymentId: 'globex/book', tailnetName: 'globex', config: { hostname: 'book' } });
    await world.until(connected(world), { limitMs: 10_000 });
  });
});

describe('read-only mode', () => {
  it('calls that change answer MANAGER_READ_ONLY, reads go on, nothing is written anywhere', async () => {
    await using world = await attached();
    world.manager.setReadOnly(true);
    expect(world.manager.readOnly).toBe(true);
    const before = await world.snapshot([world.book]);
    const sidecarId = (await stored(world))?.spec.sidecarId ?? '';
    const refused = { code: 'MANAGER_READ_ONLY', issues: [{ path: 'readOnly' }] };
    for (const call of [
      () => world.manager.createTailnet({ ...ACME, tailnetName: 'another' }),
      () => world.manager.updateTailnet({ tailnetName: TAILNET, tags: [] }),
      () => world.manager.pauseTailnet(TAILNET),
      () => world.manager.deleteTailnet(TAILNET, { cascade: true }),
      () => world.manager.attachSidecar(BOOK),
      () => world.manager.updateSidecar({ sidecarId, config: { enableSsh: true }, allowRollout: true }),
      () => world.manager.upgradeSidecars({ tailnetName: TAILNET }),
      () => world.manager.repairSidecar(sidecarId),
      () => world.manager.detachSidecar(sidecarId),
    ])
      await expect(call()).rejects.toMatchObject(refused);
    world.agents.one.node = { usable: false };
    await world.run(300_000);
    expect(await world.snapshot([world.book])).toEqual(before);
    expect(world.names()).toContain('instance:disconnected');
    expect(await world.manager.getNetworkStatus(TAILNET)).toMatchObject({ connectedDevices: 0 });
    world.manager.setReadOnly(false);
    await world.until(async () => (await stored(world))?.state.phase === 'disconnected', { limitMs: 1_000 });
  });

  it('bug: switched on in the midst of a round: the round does nothing further; a call that is still being checked is refused', async () => {
    await using world = await openWorld();
    world.guard.hook = ({ name }) => {
      if (name === 'controlPlane.tailnet.createKey') world.manager.setReadOnly(true);
      return undefined;
    };
    await world.manager.attachSidecar(BOOK);
    await world.run(60_000);
    expect([world.manager.readOnly, await world.outside()]).toEqual([true, expect.objectContaining({ devices: 0, secrets: 0 })]);
    world.guard.hook = ({ name }) => {
      if (name === 'cluster.workloads.find') world.manager.setReadOnly(true);
      return undefined;
    };
    world.manager.setReadOnly(false);
    const second = await world.addBook({ name: 'second' });
    const wish = { ...BOOK, bookDeploymentId: second.uid, config: { hostname: 'second' } };
    await expect(world.manager.attachSidecar(wish)).rejects.toMatchObject({ code: 'MANAGER_READ_ONLY' });
    world.guard.hook = () => undefined;
    world.manager.setReadOnly(false);
    await world.until(connected(world));
    expect(await world.outside()).toMatchObject({ devices: 1, keys: 1, secrets: 1 });
  });

  it('as an option it holds from the start', async () => {
    await using world = new World({ settings: { readOnly: true } });
    await world.manager.start();
    await world.addCustomer('acme-corp');
    await expect(world.manager.createTailnet(ACME)).rejects.toMatchObject({ code: 'MANAGER_READ_ONLY' });
  });
});

describe('abandon: the way out when credentials are dead', () => {
  const kill = (world: World) =>
    world.cluster.createSecret({ namespace: 'bifrost', name: 'bifrost-customer-acme-corp', data: { client_id: 'x', client_secret: 'dead' } });

  it('without it a detach waits and says why; with it the object goes, what was left is recorded', async () => {
    await using world = await attached();
    await kill(world);
    const sidecarId = (await stored(world))?.spec.sidecarId ?? '';
    await world.manager.detachSidecar(sidecarId);
    await world.run(300_000);
    expect((await stored(world))?.state.reason).toMatchObject({ code: 'CONTROL_CREDENTIALS_INVALID' });
    await world.manager.detachSidecar(sidecarId, { abandon: true });
    await world.until(async () => (await world.sidecars()).length === 0, { limitMs: 130_000 });
    expect(await world.outside()).toMatchObject({ keys: 1, secrets: 0 });
    expect(world.audit.records).toContainEqual(
      expect.objectContaining({ action: 'abandon', subject: sidecarId, outcome: 'CONTROL_CREDENTIALS_INVALID', customerId: 'acme-corp' }),
    );
    expect((await world.cluster.readWorkload(world.book)).spec.initContainers).toBeUndefined();
  });

  it('of a tailnet it covers its sidecars', async () => {
    await using world = await attached();
    await kill(world);
    await world.manager.deleteTailnet(TAILNET, { cascade: true, abandon: true });
    await world.until(async () => (await world.tailnet()) === undefined, { limitMs: 130_000 });
    expect(await world.sidecars()).toEqual([]);
    expect(await world.outside()).toMatchObject({ secrets: 0 });
  });

  it('bug: a trouble that passes is waited for, and nothing is left', async () => {
    await using world = await attached();
    let failures = 0;
    world.guard.hook = ({ name }) => (name.startsWith('controlPlane.tailnet.') && failures++ < 3 ? 'before' : undefined);
    await world.manager.deleteTailnet(TAILNET, { cascade: true, abandon: true });
    await world.until(async () => (await world.tailnet()) === undefined, { limitMs: 300_000 });
    expect(failures).toBeGreaterThan(3);
    expect(await world.outside()).toEqual(NOTHING);
  });

  it('its twin: one that stays for a minute is not', async () => {
    await using world = await attached();
    world.guard.hook = ({ name }) => (name.startsWith('controlPlane.tailnet.') ? 'before' : undefined);
    await world.manager.deleteTailnet(TAILNET, { cascade: true, abandon: true });
    await world.until(async () => (await world.tailnet()) === undefined, { limitMs: 600_000 });
    expect(world.audit.records).toContainEqual(expect.objectContaining({ action: 'abandon', outcome: 'CONTROL_UNAVAILABLE' }));
  });

  it('takes away what can be reached', async () => {
    await using world = await attached();
    await world.manager.deleteTailnet(TAILNET, { cascade: true, abandon: true });
    await world.until(async () => (await world.tailnet()) === undefined);
    expect(await world.outside()).toEqual(NOTHING);
    expect(world.audit.records.filter(({ action }) => action === 'abandon')).toEqual([]);
  });
});
