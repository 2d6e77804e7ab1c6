import { withHash } from '../../src/domain/fragment-hash.ts';
import { CONTAINERS } from '../../src/domain/names.ts';
import type { SidecarFragment } from '../../src/domain/pod-shape.ts';
import type { World } from './world.ts';

/** As it was rendered before guards took orders: one that writes its rules and ends. */
function olderFragment({ initContainers, ...rest }: SidecarFragment): SidecarFragment {
  return withHash({
    ...rest,
    initContainers: initContainers.map((container) => {
      const { restartPolicy: _policy, startupProbe: _probe, ...old } = container;
      return container.name === CONTAINERS.guard ? old : container;
    }),
  });
}

/** All sidecars of this world as an earlier SDK stored them, in pods that run them. */
export async function withOldGuards(world: World): Promise<void> {
  const { signal } = new AbortController();
  for (const sidecar of await world.sidecars())
    await world.store.sidecars.replaceSpec(sidecar, { ...sidecar.spec, fragment: olderFragment(sidecar.spec.fragment) }, { signal });
  await world.until(() => world.agents.all.every(({ hasLiveGuard }) => !hasLiveGuard));
  await world.until(async () => (await world.sidecars()).every(({ state }) => state.phase === 'connected'));
  await world.quiet();
}
