import { describe, expect, it } from 'vitest';
import { BOOK, type Opened, openWorld } from './support/world.ts';

const TAILNET = 'acme-corp-production';
const ANNOTATED = { 'bifrost.dev/tailnet': TAILNET, 'bifrost.dev/hostname': 'by-annotation', 'bifrost.dev/accept-routes': 'true' };
const stored = async (world: Opened) => (await world.sidecars())[0];
const connected = (world: Opened) => async () => (await stored(world))?.state.phase === 'connected';
const refusals = (world: Opened) => world.events.filter(({ name }) => name === 'workload:refused').map(({ event }) => event);

describe('a workload that is annotated', () => {
  it('is attached by itself, with what its annotations say, and recorded', async () => {
    await using world = await openWorld();
    await world.cluster.annotateWorkload(world.book, { ...ANNOTATED, 'bifrost.dev/advertise-routes': '10.1.0.0/24, 10.2.0.0/24' });
    await world.until(connected(world), { limitMs: 10_000 });
    const [sidecar] = await world.manager.listSidecars();
    expect(sidecar?.config).toEqual({
      hostname: 'by-annotation',
      acceptRoutes: true,
      enableSsh: false,
      advertiseRoutes: ['10.1.0.0/24', '10.2.0.0/24'],
      networkMode: 'auto',
    });
    expect(world.audit.records).toContainEqual(expect.objectContaining({ actor: 'annotation', action: 'attachSidecar', outcome: 'accepted' }));
  });

  it('was so before the manager started: the same', async () => {
    await using world = await openWorld();
    await world.manager.stop();
    await world.cluster.annotateWorkload(world.book, { 'bifrost.dev/tailnet': TAILNET });
    await world.restart();
    await world.until(connected(world), { limitMs: 10_000 });
    expect((await stored(world))?.spec).toMatchObject({ origin: 'annotation', config: { hostname: 'customer-support-book' } });
  });

  it('cannot be detached by call; without its annotation it is', async () => {
    await using world = await openWorld();
    await world.cluster.annotateWorkload(world.book, ANNOTATED);
    await world.until(connected(world));
    const sidecarId = (await stored(world))?.spec.sidecarId ?? '';
    await expect(world.manager.detachSidecar(sidecarId)).rejects.toMatchObject({ code: 'ATTACHED_BY_ANNOTATION', issues: [{ path: 'sidecarId' }] });
    await world.cluster.annotateWorkload(world.book, { 'bifrost.dev/tailnet': undefined });
    await world.until(async () => (await world.sidecars()).length === 0, { limitMs: 60_000 });
    expect(await world.outside()).toEqual({ devices: 0, keys: 0, secrets: 0, tailnets: 0 });
  });

  it('loses its annotation while no manager runs: detached by the next', async () => {
    await using world = await openWorld();
    await world.cluster.annotateWorkload(world.book, ANNOTATED);
    await world.until(connected(world));
    await world.manager.stop();
    await world.cluster.annotateWorkload(world.book, { 'bifrost.dev/tailnet': undefined });
    await world.restart();
    await world.until(async () => (await world.sidecars()).length === 0, { limitMs: 60_000 });
  });

  it('bug: loses its annotation while the manager only reads: detached once it writes again', async () => {
    await using world = await openWorld();
    await world.cluster.annotateWorkload(world.book, ANNOTATED);
    await world.until(connected(world));
    world.manager.setReadOnly(true);
    await world.cluster.annotateWorkload(world.book, { 'bifrost.dev/tailnet': undefined });
    await world.run(60_000);
    expect(await world.sidecars()).toHaveLength(1);
    world.manager.setReadOnly(false);
    await world.until(async () => (await world.sidecars()).length === 0, { limitMs: 900_000 });
  });

  it('with other values is updated; with another hostname attached anew', async () => {
    await using world = await openWorld();
    await world.cluster.annotateWorkload(world.book, ANNOTATED);
    await world.until(connected(world));
    const { sidecarId } = (await stored(world))?.spec ?? {};
    await world.cluster.annotateWorkload(world.book, { 'bifrost.dev/enable-ssh': 'true' });
    await world.until(async () => (await stored(world))?.spec.config.enableSsh === true && (await connected(world)()));
    expect((await stored(world))?.spec.sidecarId).toBe(sidecarId);
    await world.cluster.annotateWorkload(world.book, { 'bifrost.dev/hostname': 'renamed' });
    await world.until(async () => (await stored(world))?.spec.config.hostname === 'renamed' && (await connected(world)()));
    expect(await world.outside()).toMatchObject({ devices: 1, keys: 1 });
  });

  it.each([
    [{ 'bifrost.dev/tailnet': 'nobody' }, 'TAILNET_NOT_FOUND'],
    [{ ...ANNOTATED, 'bifrost.dev/accept-routes': 'yes' }, 'INVALID_ARGUMENT'],
    [{ ...ANNOTATED, 'bifrost.dev/hostname': 'Not_a_label' }, 'INVALID_ARGUMENT'],
    [{ ...ANNOTATED, 'bifrost.dev/advertise-routes': '10.0.0.1/8' }, 'INVALID_ARGUMENT'],
    [{ ...ANNOTATED, 'bifrost.dev/network-mode': 'magic' }, 'INVALID_ARGUMENT'],
  ])('%j: refused with %s, told once, nothing is written', async (annotations, code) => {
    await using world = await openWorld();
    await world.cluster.annotateWorkload(world.book, annotations);
    await world.until(() => refusals(world).length > 0, { limitMs: 5_000 });
    await world.run(600_000);
    expect(refusals(world)).toEqual([
      expect.objectContaining({ code, customerId: 'acme-corp', workload: 'Deployment acme-corp/customer-support-book' }),
    ]);
    expect(await world.sidecars()).toEqual([]);
  });

  it('bug: follows its annotations again after a roll-back, but for what was rolled back', async () => {
    await using world = await openWorld({ settings: { attachDeadlineMs: 60_000 } });
    await world.cluster.annotateWorkload(world.book, ANNOTATED);
    await world.until(connected(world));
    const [before] = world.agents.all;
    world.agents.speak = false;
    await world.cluster.annotateWorkload(world.book, { 'bifrost.dev/enable-ssh': 'true' });
    await world.until(() => world.agents.all.some((agent) => agent !== before));
    await world.until(() => world.names().includes('sidecar:reverted'), { limitMs: 300_000 });
    world.agents.speak = true;
    await world.run(600_000);
    expect((await stored(world))?.spec.config).toMatchObject({ enableSsh: false });
    await world.cluster.annotateWorkload(world.book, { 'bifrost.dev/enable-ssh': 'true', 'bifrost.dev/accept-routes': 'false' });
    await world.until(async () => (await stored(world))?.spec.config.acceptRoutes === false && (await stored(world))?.spec.trial === undefined);
    expect((await stored(world))?.spec.config).toMatchObject({ enableSsh: true, acceptRoutes: false });
  });

  it('in another customer’s namespace is refused, and attached once that is put right', async () => {
    await using world = await openWorld();
    await world.cluster.createNamespace({ name: 'acme-corp', customerId: 'somebody-else' });
    await world.cluster.annotateWorkload(world.book, ANNOTATED);
    await world.until(() => refusals(world).length > 0);
    expect(refusals(world)).toEqual([expect.objectContaining({ code: 'CUSTOMER_MISMATCH' })]);
    await world.cluster.createNamespace({ name: 'acme-corp', customerId: 'acme-corp' });
    await world.until(connected(world), { limitMs: 130_000 });
  });

  it('bug: a hundred refused ones of a stranger do not delay the customer whose tailnet they name', async () => {
    await using world = await openWorld();
    await world.cluster.createNamespace({ name: 'stranger', customerId: 'stranger' });
    for (let index = 0; index < 100; index += 1) {
      const workload = await world.cluster.createWorkload({ namespace: 'stranger', name: `w${index}`, replicas: 0 });
      await world.cluster.annotateWorkload(workload, ANNOTATED);
    }
    await world.until(() => refusals(world).length === 100, { limitMs: 60_000 });
    let failures = 0;
    world.guard.hook = ({ name }) => (name === 'controlPlane.tailnet.createKey' && failures++ < 2 ? 'before' : undefined);
    await world.manager.attachSidecar(BOOK);
    await world.until(connected(world), { limitMs: 60_000 });
    expect(failures).toBeGreaterThan(2);
  });

  it('bug: a workload that bears its uid as a label is not taken for it', async () => {
    await using world = await openWorld();
    await world.cluster.createWorkload({ namespace: 'acme-corp', name: 'posing', labels: { 'bifrost.dev/book-deployment-id': world.book.uid } });
    await world.cluster.annotateWorkload(world.book, ANNOTATED);
    await world.until(connected(world), { limitMs: 10_000 });
    expect((await world.sidecars()).map(({ spec }) => spec.workload)).toEqual([world.book]);
  });

  it('and attached by call with the same wish stays as it is; with another wish the annotation is refused', async () => {
    await using world = await openWorld();
    await world.manager.attachSidecar(BOOK);
    await world.until(connected(world));
    const { hostname } = BOOK.config;
    await world.cluster.annotateWorkload(world.book, { ...ANNOTATED, 'bifrost.dev/hostname': hostname });
    await world.run(120_000);
    expect(refusals(world)).toEqual([]);
    await world.cluster.annotateWorkload(world.book, { 'bifrost.dev/enable-ssh': 'true' });
    await world.until(() => refusals(world).length > 0);
    expect(refusals(world)).toEqual([expect.objectContaining({ code: 'SIDECAR_EXISTS' })]);
    expect((await stored(world))?.spec.config.enableSsh).toBe(false);
  });

  it('is deleted: everything made for it is released', async () => {
    await using world = await openWorld();
    await world.cluster.annotateWorkload(world.book, ANNOTATED);
    await world.until(connected(world));
    await world.cluster.deleteWorkload(world.book);
    await world.until(async () => (await world.sidecars()).length === 0, { limitMs: 60_000 });
    expect(await world.outside()).toEqual({ devices: 0, keys: 0, secrets: 0, tailnets: 0 });
  });
});
