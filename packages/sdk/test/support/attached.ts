import type { StoredSidecar } from '../../src/domain/model.ts';
import { BOOK, type Opened, openWorld, type World } from './world.ts';

/** The only sidecar, as it is stored. */
export const stored = async (world: World): Promise<StoredSidecar | undefined> => (await world.sidecars())[0];

/** A world with one sidecar that is connected, and nothing left to write. */
export async function attached(): Promise<Opened & { readonly sidecarId: string }> {
  const world = await openWorld();
  const { sidecarId } = await world.manager.attachSidecar(BOOK);
  await world.until(async () => (await stored(world))?.state.phase === 'connected');
  await world.run(2_000);
  return Object.assign(world, { sidecarId });
}
