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
