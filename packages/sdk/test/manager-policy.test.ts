import { BifrostError } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { ACME, World, type WorldOptions } from './support/world.ts';

const tailnetName = ACME.tailnetName;
const call = () => ({ signal: AbortSignal.timeout(5_000) });
const controlOf = async (world: World) => world.controlPlane.tailnet({ controlId: (await world.tailnet())?.state.controlId ?? '' });
const grantsFor = (network: string) => async (world: World) => (await (await controlOf(world)).readPolicy(call())).text.includes(network);

async function active(settings: WorldOptions['settings'] = {}): Promise<World> {
  const world = new World({ settings });
  await world.manager.start();
  await world.manager.createTailnet({ ...ACME, tenancy: 'organization' });
  await world.until(async () => (await world.tailnet())?.state.phase === 'active');
  return world;
}

/** Another configuration comes in while the policy of the last one is on its way. */
function changeMeanwhile(world: World, allowedNetworks: readonly string[]): void {
  let isOver = false;
  world.guard.hook = async ({ name }) => {
    if (isOver || name !== 'controlPlane.tailnet.writePolicy') return undefined;
    isOver = true;
    await world.manager.updateTailnet({ tailnetName, config: { allowedNetworks: [...allowedNetworks] }, allowRollout: true });
    return undefined;
  };
}

describe('bug: a configuration that changes while its policy is written', () => {
  it('of a new tailnet: the next policy follows', async () => {
    await using world = new World();
    await world.manager.start();
    changeMeanwhile(world, ['10.20.0.0/16']);
    await world.manager.createTailnet({ ...ACME, tenancy: 'organization' });
    await world.until(async () => (await world.tailnet())?.state.phase === 'active', { limitMs: 120_000 });
    await world.until(() => grantsFor('10.20.0.0/16')(world), { limitMs: 120_000 });
  });

  it('of one that is active: the next policy follows', async () => {
    await using world = await active();
    changeMeanwhile(world, ['10.30.0.0/16']);
    await world.manager.updateTailnet({ tailnetName, config: { allowedNetworks: ['10.20.0.0/16'] }, allowRollout: true });
    await world.until(() => grantsFor('10.30.0.0/16')(world), { limitMs: 120_000 });
  });

  it('or whose manager dies between the write and its record', async () => {
    await using world = await active();
    let deaths = 0;
    world.guard.hook = ({ name }) => (name === 'controlPlane.tailnet.writePolicy' && deaths++ === 0 ? () => void world.restart() : undefined);
    await world.manager.updateTailnet({ tailnetName, config: { allowedNetworks: ['10.20.0.0/16'] }, allowRollout: true });
    await world.until(() => grantsFor('10.20.0.0/16')(world), { limitMs: 120_000 });
    await world.quiet();
    await world.manager.updateTailnet({ tailnetName, config: { allowedNetworks: ['10.30.0.0/16'] }, allowRollout: true });
    await world.until(() => grantsFor('10.30.0.0/16')(world), { limitMs: 120_000 });
  });
});

describe('what an update would write', () => {
  it('is told before, entry by entry and rule by rule, and is then there', async () => {
    await using world = await active();
    const update = { tailnetName, config: { allowedNetworks: ['10.0.0.0/8', '172.20.0.0/16'] } };
    const { outputs = [] } = await world.manager.planUpdateTailnet(update);
    expect(outputs.map(({ output }) => output)).toEqual(['tailnet-policy', 'guard']);
    const added = outputs.flatMap((output) => output.added);
    expect(added).toContain('autoApprovers.routes {"172.20.0.0/16":["tag:bifrost-router"]}');
    expect(added).toContain('5110 to 172.20.0.0/16 lookup 52');
    expect(await grantsFor('172.20.0.0/16')(world)).toBe(false);
    await world.manager.updateTailnet(update);
    await world.until(() => grantsFor('172.20.0.0/16')(world), { limitMs: 120_000 });
  });
});

describe('a policy in which somebody else writes', () => {
  const readPolicy = async (world: World) => (await controlOf(world)).readPolicy(call());
  const edit = async (world: World, change: (text: string) => string): Promise<void> => {
    const { text, etag } = await readPolicy(world);
    const edited = change(text);
    expect(edited).not.toBe(text);
    await (await controlOf(world)).writePolicy(edited, etag, call());
  };
  const drifts = (world: World) => world.events.filter(({ name }) => name === 'policy:drifted').map(({ event }) => event);
  const theirs = (text: string): string =>
    text
      .replace('"tagOwners": {', '"groups": { "group:dev": ["dev@example.com"] }, "tagOwners": { "tag:printer": ["group:dev"],')
      .replace('"grants": [', '"grants": [ // theirs\n{ "src": ["group:dev"], "dst": ["tag:printer"], "ip": ["tcp:631"] },');
  const widened = (text: string): string => text.replace('"ip": [', '"via": [], "ip": [');

  it('keeps what they write, comments too, and follows the configuration beside it', async () => {
    await using world = await active();
    await edit(world, theirs);
    await world.manager.updateTailnet({ tailnetName, config: { allowedNetworks: ['10.20.0.0/16'] }, allowRollout: true });
    await world.until(() => grantsFor('10.20.0.0/16')(world), { limitMs: 120_000 });
    expect((await readPolicy(world)).text).toMatch(/\/\/ theirs\n[^\n]*tag:printer/);
    expect(drifts(world)).toEqual([]);
  });

  it('puts right what they change of ours, and tells of it once', async () => {
    await using world = await active();
    const before = (await readPolicy(world)).text;
    await edit(world, widened);
    await world.until(async () => !(await readPolicy(world)).text.includes('"via": []'), { limitMs: 180_000 });
    await world.run(300_000);
    expect(JSON.parse((await readPolicy(world)).text)).toEqual(JSON.parse(before));
    expect(drifts(world)).toEqual([expect.objectContaining({ tailnetName, repaired: true })]);
  });

  it('bug: what was put right by a write whose reply was lost was told as one that stands', async () => {
    await using world = await active();
    await edit(world, widened);
    let isLost = false;
    world.guard.hook = ({ name }) => {
      if (isLost || name !== 'controlPlane.tailnet.writePolicy') return undefined;
      isLost = true;
      return 'after';
    };
    await world.until(() => isLost, { limitMs: 180_000 });
    await world.run(300_000);
    expect(drifts(world).at(-1)).toMatchObject({ tailnetName, repaired: true });
  });

  it('only tells of it where it is not to be repaired', async () => {
    await using world = await active({ repairPolicy: false });
    await edit(world, widened);
    await world.run(300_000);
    expect((await readPolicy(world)).text).toContain('"via": []');
    expect(drifts(world)).toEqual([expect.objectContaining({ tailnetName, repaired: false })]);
  });

  it('bug: tells of it again in the policy of one that comes under the name of one that is gone', async () => {
    await using world = await active({ repairPolicy: false });
    for (const told of [1, 2]) {
      await edit(world, widened);
      await world.run(120_000);
      expect(drifts(world)).toHaveLength(told);
      await world.manager.deleteTailnet(tailnetName);
      await world.until(async () => (await world.tailnet()) === undefined);
      await world.manager.createTailnet({ ...ACME, tenancy: 'organization' });
      await world.until(async () => (await world.tailnet())?.state.phase === 'active');
    }
  });

  it('tells of one that cannot be read, and leaves it; when it is mended, all is well again', async () => {
    await using world = await active();
    const { text } = await readPolicy(world);
    const unreadable = '{ "grants": null, "acls": [] }'; // the control plane takes null for a section that is not there
    await edit(world, () => unreadable);
    await world.until(async () => (await world.tailnet())?.state.phase === 'degraded', { limitMs: 180_000 });
    expect((await world.manager.getTailnet(tailnetName)).reason).toMatchObject({ code: 'POLICY_UNREADABLE' });
    expect((await readPolicy(world)).text).toBe(unreadable);
    await edit(world, () => text);
    await world.until(async () => (await world.tailnet())?.state.phase === 'active', { limitMs: 180_000 });
  });

  it('is degraded while the control plane refuses it, and as wanted once it is taken', async () => {
    await using world = await active();
    const before = await readPolicy(world);
    let isRefused = true;
    world.guard.hook = async ({ name }) => {
      if (!isRefused || name !== 'controlPlane.tailnet.writePolicy') return undefined;
      throw new BifrostError({ code: 'POLICY_REFUSED', message: 'a test of theirs fails' });
    };
    await world.manager.updateTailnet({ tailnetName, config: { allowedNetworks: ['10.20.0.0/16'] }, allowRollout: true });
    await world.until(async () => (await world.tailnet())?.state.phase === 'degraded', { limitMs: 180_000 });
    expect((await world.manager.getTailnet(tailnetName)).reason).toMatchObject({ code: 'POLICY_REFUSED' });
    expect(await readPolicy(world)).toEqual(before);
    isRefused = false;
    await world.until(async () => (await world.tailnet())?.state.phase === 'active', { limitMs: 180_000 });
    expect(await grantsFor('10.20.0.0/16')(world)).toBe(true);
  });

  it('reads and merges anew when they write between its reading and its writing', async () => {
    await using world = await active();
    let isOver = false;
    world.guard.hook = async ({ name }) => {
      if (isOver || name !== 'controlPlane.tailnet.writePolicy') return undefined;
      isOver = true;
      await edit(world, theirs);
      return undefined;
    };
    await world.manager.updateTailnet({ tailnetName, config: { allowedNetworks: ['10.20.0.0/16'] }, allowRollout: true });
    await world.until(() => grantsFor('10.20.0.0/16')(world), { limitMs: 120_000 });
    expect((await readPolicy(world)).text).toContain('// theirs');
  });
});
