import { describe, expect, it } from 'vitest';
import { BOOK, type Opened, openWorld } from './support/world.ts';

const TAILNET = 'acme-corp-production';
const stored = async (world: Opened) => (await world.sidecars())[0];
const connected = (world: Opened) => async () => (await stored(world))?.state.phase === 'connected';
const settings = { attachDeadlineMs: 60_000 };
const CHANGE = { config: { enableSsh: true }, allowRollout: true };

/** Pods that are there and have told nobody yet: their agents speak when there is a manager again. */
async function withoutManager(world: Opened): Promise<void> {
  await world.manager.stop();
  await world.run(600_000);
  for (const agent of world.agents.all) agent.speaks = true;
  world.agents.speak = true;
  await world.restart(settings);
}

describe('bug: time that is nobody’s failure does not count', () => {
  it('L3: a first attach is not taken back, because no manager was there to hear of it', async () => {
    await using world = await openWorld({ settings });
    world.agents.speak = false;
    await world.manager.attachSidecar(BOOK);
    await world.until(() => world.agents.all.length === 1);
    await withoutManager(world);
    await world.until(connected(world), { limitMs: 60_000 });
    expect(world.names()).not.toContain('sidecar:reverted');
  });

  it('a change on trial is not taken back, because no manager was there to hear of it', async () => {
    await using world = await openWorld({ settings });
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    await world.until(connected(world));
    const [before] = world.agents.all;
    world.agents.speak = false;
    await world.manager.updateSidecar({ sidecarId, ...CHANGE });
    await world.until(() => world.agents.all.some((agent) => agent !== before));
    await withoutManager(world);
    await world.until(async () => (await stored(world))?.spec.trial === undefined, { limitMs: 120_000 });
    expect((await stored(world))?.spec).toMatchObject({ config: { enableSsh: true } });
    expect((await stored(world))?.spec).not.toHaveProperty('reverted');
  });

  it('L3: a change that was asked for while paused has its whole time after the pause', async () => {
    await using world = await openWorld({ settings });
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    await world.until(connected(world));
    await world.manager.pauseTailnet(TAILNET);
    await world.manager.updateSidecar({ sidecarId, ...CHANGE });
    await world.run(600_000);
    await world.manager.resumeTailnet(TAILNET);
    await world.until(async () => (await stored(world))?.spec.trial === undefined, { limitMs: 120_000 });
    expect((await stored(world))?.spec).toMatchObject({ config: { enableSsh: true } });
    expect((await stored(world))?.spec).not.toHaveProperty('reverted');
  });

  it('its twin: one that does not connect with a manager there is taken back', async () => {
    await using world = await openWorld({ settings });
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    await world.until(connected(world));
    world.agents.speak = false;
    await world.manager.updateSidecar({ sidecarId, ...CHANGE });
    await world.until(async () => (await stored(world))?.spec.reverted !== undefined, { limitMs: 120_000 });
  });
});
