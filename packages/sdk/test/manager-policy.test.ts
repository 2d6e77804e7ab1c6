import { describe, expect, it } from 'vitest';
import { ACME, World } from './support/world.ts';

const tailnetName = ACME.tailnetName;
const call = () => ({ signal: AbortSignal.timeout(5_000) });
const controlOf = async (world: World) => world.controlPlane.tailnet({ controlId: (await world.tailnet())?.state.controlId ?? '' });
const grantsFor = (network: string) => async (world: World) => (await (await controlOf(world)).readPolicy(call())).text.includes(network);

async function active(): Promise<World> {
  const world = new World();
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

  it('its twin: a policy that somebody else has edited is left as it is', async () => {
    await using world = await active();
    const control = await controlOf(world);
    const { text, etag } = await control.readPolicy(call());
    await control.writePolicy(`${text}\n`, etag, call());
    await world.manager.updateTailnet({ tailnetName, config: { allowedNetworks: ['10.20.0.0/16'] }, allowRollout: true });
    await world.run(120_000);
    expect(await grantsFor('10.20.0.0/16')(world)).toBe(false);
  });
});
