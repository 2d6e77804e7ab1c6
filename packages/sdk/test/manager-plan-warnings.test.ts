import { describe, expect, it } from 'vitest';
import { ACME, openWorld, type World } from './support/world.ts';

const tailnetName = ACME.tailnetName;
const call = () => ({ signal: AbortSignal.timeout(5_000) });
const update = { tailnetName, config: { allowedNetworks: ['10.0.0.0/8', '172.20.0.0/16'] } };
const codes = async (world: World) => (await world.manager.planUpdateTailnet(update)).warnings?.map(({ code, path }) => `${code} ${path}`) ?? [];

function controlOf(world: World) {
  const [credential] = world.credentials;
  if (credential === undefined) throw new Error('no customer');
  return world.controlPlane.tailnet({ credential });
}

async function policy(world: World, grants: readonly object[]): Promise<void> {
  const control = controlOf(world);
  await control.writePolicy(JSON.stringify({ tagOwners: { 'tag:bifrost-book': [] }, grants }), (await control.readPolicy(call())).etag, call());
}
const narrow = { src: ['tag:bifrost-book'], dst: ['10.0.0.0/8'], ip: ['*'] };

describe('bug: warnings that no plan ever had', () => {
  it('an entry of the policy that is open to all; twin: one that is not', async () => {
    await using world = await openWorld();
    await policy(world, [narrow]);
    expect(await codes(world)).not.toContainEqual(expect.stringContaining('OPEN_GRANT'));
    await policy(world, [narrow, { ...narrow, dst: ['*'] }]);
    expect(await codes(world)).toContain('OPEN_GRANT policy.grants.1');
  });

  it('a router that carries a part of another’s range; twin: the same range', async () => {
    await using world = await openWorld();
    const controlId = (await world.tailnet())?.state.controlId ?? '';
    const add = async (hostname: string, route: string): Promise<void> => {
      const { deviceId } = world.control.addDevice({ controlId, hostname, tags: [], advertiseRoutes: [route] });
      await controlOf(world).approveRoutes(deviceId, [route], call());
    };
    await add('wide', '172.16.0.0/12');
    await add('spare', '172.16.0.0/12');
    expect(await codes(world)).not.toContainEqual(expect.stringContaining('ROUTES_OVERLAP'));
    await add('narrow', '172.20.0.0/16');
    expect(await codes(world)).toContainEqual(expect.stringMatching(/^ROUTES_OVERLAP routes\.wide/));
  });

  it('are left out while the control plane does not answer: the plan is there all the same', async () => {
    await using world = await openWorld();
    await policy(world, [{ ...narrow, dst: ['*'] }]);
    world.guard.hook = ({ name }) => (name === 'controlPlane.tailnet.listDevices' ? 'before' : undefined);
    const plan = await world.manager.planUpdateTailnet(update);
    expect(plan.changes).toEqual(['config.allowedNetworks']);
    expect(plan.warnings?.map(({ code }) => code)).not.toContain('OPEN_GRANT');
  });
});
