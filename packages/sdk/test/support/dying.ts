import type { World } from './world.ts';

/** Another manager takes over once the call outside that is so many from now has had its effect, and its reply is lost. */
export function dyingAt(world: World, at: number): { readonly died: boolean } {
  const state = { died: false };
  const from = world.guard.calls;
  world.guard.hook = ({ number }) => {
    if (state.died || number !== from + at) return undefined;
    state.died = true;
    return () => void world.restart();
  };
  return state;
}
