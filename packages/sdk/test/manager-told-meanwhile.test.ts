import { describe, expect, it } from 'vitest';
import type { StoredSidecar, StoredTailnet } from '../src/domain/model.ts';
import type { NetworkManager } from '../src/manager/network-manager.ts';
import { attached, stored } from './support/attached.ts';
import { ACME, type Opened, refusal } from './support/world.ts';

const TAILNET = ACME.tailnetName;
const call = () => ({ signal: AbortSignal.timeout(5_000) });
/** As the loop tells it: with a step of this name the state is another one just before, once for each. */
function tells(world: Opened, step: string, states: (Partial<StoredTailnet['state']> | Partial<StoredSidecar['state']>)[]): void {
  const isTailnets = step.startsWith('store.tailnets.');
  world.guard.hook = async ({ name }) => {
    const told = name === step ? states.shift() : undefined;
    const [tailnet, sidecar] = [await world.tailnet(), await stored(world)];
    if (told && isTailnets && tailnet)
      await world.store.tailnets.replaceState(tailnet, { ...tailnet.state, ...told } as StoredTailnet['state'], call());
    if (told && !isTailnets && sidecar)
      await world.store.sidecars.replaceState(sidecar, { ...sidecar.state, ...told } as StoredSidecar['state'], call());
    return undefined;
  };
}
type Options = { readonly ifMatch?: string };
type Calling = (manager: NetworkManager, sidecarId: string, options: Options) => Promise<unknown>;
const updateTailnet: Calling = (manager, _, options) => manager.updateTailnet({ tailnetName: TAILNET, tags: ['new'] }, options);
const updateSidecar: Calling = (manager, sidecarId, options) =>
  manager.updateSidecar({ sidecarId, config: { enableSsh: true }, allowRollout: true }, options);

describe.each([true, false])('what the loop tells just before a call writes, with an etag: %s', (isMatched) => {
  const optionsFor = (etag: string): Options => (isMatched ? { ifMatch: etag } : {});

  it.each<readonly [string, object, Calling]>([
    ['updateTailnet', { tags: ['new'] }, updateTailnet],
    ['pauseTailnet', { paused: true }, (manager, _, options) => manager.pauseTailnet(TAILNET, options)],
    ['upgradeSidecars', { upgrade: expect.anything() }, (manager, _, options) => manager.upgradeSidecars({ tailnetName: TAILNET }, options)],
    [
      'deleteTailnet with abandon',
      { abandon: true },
      (manager, _, options) => manager.deleteTailnet(TAILNET, { cascade: true, abandon: true, ...options }),
    ],
  ])('bug: of a tailnet does not hinder %s', async (_, wanted, act) => {
    await using world = await attached();
    const { etag } = await world.manager.getTailnet(TAILNET);
    const states = [{ phase: 'degraded' as const }, { phase: 'active' as const }];
    tells(world, 'store.tailnets.replaceSpec', states);
    await act(world.manager, world.sidecarId, optionsFor(etag));
    expect([states, (await world.tailnet())?.spec]).toEqual([[], expect.objectContaining(wanted)]);
  });

  it.each<readonly [string, object, Calling]>([
    ['updateSidecar', { config: { enableSsh: true } }, updateSidecar],
    ['quarantineSidecar', { quarantine: {} }, (manager, sidecarId, options) => manager.quarantineSidecar({ sidecarId }, options)],
    [
      'detachSidecar with abandon',
      { abandon: true },
      (manager, sidecarId, options) => manager.detachSidecar(sidecarId, { abandon: true, ...options }),
    ],
  ])('bug: of a sidecar does not hinder %s', async (_, wanted, act) => {
    await using world = await attached();
    const { etag } = await world.manager.getSidecar(world.sidecarId);
    const states = [{ phase: 'degraded' as const }, { phase: 'connected' as const }];
    tells(world, 'store.sidecars.replaceSpec', states);
    await act(world.manager, world.sidecarId, optionsFor(etag));
    expect(states).toEqual([]);
    expect((await stored(world))?.spec).toMatchObject(wanted);
  });

  it('bug: nor repairSidecar, which writes over nothing of it', async () => {
    await using world = await attached();
    const { etag } = await world.manager.getSidecar(world.sidecarId);
    const sidecar = (await stored(world)) as StoredSidecar;
    await world.store.sidecars.replaceState(sidecar, { ...sidecar.state, repairs: [{ manager: 'gitops', atMs: world.clock.nowMs() }] }, call());
    tells(world, 'store.sidecars.replaceState', [{ phase: 'degraded' }]);
    await world.manager.repairSidecar(world.sidecarId, optionsFor(etag));
    const { phase, repairs } = (await stored(world))?.state ?? {};
    expect([phase, repairs]).toEqual(['degraded', undefined]);
  });

  it('twin: another wish does, and nothing of that is written over', async () => {
    await using world = await attached();
    const { etag } = await world.manager.getTailnet(TAILNET);
    const other = world.newManager();
    world.guard.once('store.tailnets.replaceSpec', () => other.pauseTailnet(TAILNET));
    const update = updateTailnet(world.manager, world.sidecarId, optionsFor(etag));
    expect(await refusal(update)).toMatchObject({ code: isMatched ? 'ETAG_MISMATCH' : 'STORE_CONFLICT' });
    expect((await world.tailnet())?.spec).toMatchObject({ paused: true, tags: ACME.tags });
  });

  it('an attach that has failed meanwhile is not changed', async () => {
    await using world = await attached();
    const { etag } = await world.manager.getSidecar(world.sidecarId);
    tells(world, 'store.sidecars.replaceSpec', [{ phase: 'failed', rolledBack: true }]);
    expect(await refusal(updateSidecar(world.manager, world.sidecarId, optionsFor(etag)))).toMatchObject({ code: 'SIDECAR_EXISTS' });
    expect((await stored(world))?.spec.config).toMatchObject({ enableSsh: false });
  });
});
