import { expect, it } from 'vitest';
import { BOOK, openWorld, type World } from './support/world.ts';

const connected = (world: World) => async () => (await world.sidecars())[0]?.state.phase === 'connected';

it('a device that joined and whose pod was gone before its first report is found and deleted', async () => {
  await using world = await openWorld();
  await world.manager.attachSidecar(BOOK);
  await world.until(connected(world));
  await world.manager.stop();
  world.agents.speak = false;
  await world.cluster.scale(world.book, 2);
  await world.until(() => world.agents.all.length === 2);
  await world.cluster.scale(world.book, 1);
  await world.until(() => world.agents.all.length === 1);
  world.agents.speak = true;
  expect((await world.outside()).devices).toBe(2);
  await world.restart();
  await world.until(async () => (await world.outside()).devices === 1, { limitMs: 150_000 });
  expect(world.control.device(world.agents.one.deviceId)).toBeDefined();
});

it('a device of a pod that has not spoken yet is left alone, however old it is', async () => {
  await using world = await openWorld();
  await world.manager.attachSidecar(BOOK);
  await world.until(connected(world));
  world.agents.speak = false;
  await world.cluster.scale(world.book, 2);
  await world.until(() => world.agents.all.length === 2);
  await world.run(300_000);
  await world.restart();
  await world.run(300_000);
  expect((await world.outside()).devices).toBe(2);
});

it('a device of somebody else’s that has our hostname and not our tags is left alone', async () => {
  await using world = await openWorld();
  const { controlId } = world.control.tailnets().find(({ displayName }) => displayName === 'acme-corp') ?? { controlId: '' };
  world.control.addDevice({ controlId, hostname: BOOK.config.hostname, tags: ['tag:customer'] });
  await world.manager.attachSidecar(BOOK);
  await world.until(connected(world));
  await world.run(300_000);
  expect(world.control.devices().filter(({ tags }) => tags.includes('tag:customer'))).toHaveLength(1);
});

it('bug: while it cannot be told whose the pods are, none counts as gone and no device is deleted', async () => {
  await using world = await openWorld();
  await world.manager.attachSidecar(BOOK);
  await world.until(connected(world));
  const pods = await world.cluster.pods.list({ signal: AbortSignal.timeout(5_000) });
  const old = pods.map((pod) => ({ ...pod, workloadUid: undefined, unsettled: true }));
  world.guard.hook = ({ name }) => (name === 'cluster.pods.list' ? { old } : undefined);
  await world.restart();
  await world.run(120_000);
  expect((await world.outside()).devices).toBe(1);
  world.guard.hook = () => undefined;
  await world.until(connected(world));
  expect(world.control.device(world.agents.one.deviceId)).toBeDefined();
});

it('bug: a pod of another namespace that names our workload as its owner is not ours', async () => {
  await using world = await openWorld();
  const { sidecarId } = await world.manager.attachSidecar(BOOK);
  await world.until(connected(world));
  const [pod] = await world.cluster.pods.list({ signal: AbortSignal.timeout(5_000) });
  const stranger = { ...pod, namespace: 'elsewhere', uid: 'stranger' };
  await world.manager.detachSidecar(sidecarId);
  world.guard.hook = ({ name }) => (name === 'cluster.pods.list' ? { old: [stranger] } : undefined);
  await world.until(async () => (await world.sidecars()).length === 0);
});

it('bug: a sidecar is not joined to the tailnet that another customer has made under its name', async () => {
  await using world = await openWorld();
  await world.manager.attachSidecar(BOOK);
  await world.until(connected(world));
  const keys = world.control.keys().length;
  const tailnet = await world.tailnet();
  const old = tailnet && { ...tailnet, spec: { ...tailnet.spec, customerId: 'other' } };
  world.guard.hook = ({ name }) => (name === 'store.tailnets.get' ? { old } : undefined);
  await world.until(async () => (await world.sidecars()).length === 0, { limitMs: 900_000 });
  expect(world.control.keys()).toHaveLength(keys);
});

it('bug: the device of a pod that the watch has not told of is left alone while it is connected', async () => {
  await using world = await openWorld();
  await world.manager.attachSidecar(BOOK);
  await world.until(connected(world));
  const old = await world.cluster.pods.list({ signal: AbortSignal.timeout(5_000) });
  world.guard.hook = ({ name }) => (name === 'cluster.pods.list' ? { old } : undefined);
  world.agents.speak = false;
  await world.cluster.scale(world.book, 2);
  await world.until(() => world.agents.all.length === 2);
  await world.run(300_000);
  expect((await world.outside()).devices).toBe(2);
});
