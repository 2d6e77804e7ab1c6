import { describe, expect, it } from 'vitest';
import { BOOK, type Opened, openWorld } from './support/world.ts';

async function openAttached(): Promise<Opened> {
  const world = await openWorld();
  await world.manager.attachSidecar(BOOK);
  await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
  await world.quiet();
  return world;
}

const looked = { manager: 'owner', annotations: { 'owner.example/note': 'theirs' } };

describe('what one answer does not find, and is there', () => {
  it.each(['store.sidecars.get', 'store.tailnets.get'])('bug: %s: nobody is told that it has gone; twin: a second tells so', async (name) => {
    await using world = await openAttached();
    let missedFor = 1;
    world.guard.hook = (call) => (call.name === name && missedFor-- > 0 ? { old: undefined } : undefined);
    world.events.length = 0;
    await world.run(90_000); // all is looked at again within a minute
    expect(missedFor).toBeLessThan(0);
    expect(world.names()).toEqual([]);
    missedFor = Number.POSITIVE_INFINITY;
    await world.until(() => world.names().some((told) => told === 'sidecar:detached' || told === 'tailnet:deleted'));
  });

  it('bug: a Secret: the key that could not be put into it is revoked', async () => {
    await using world = await openAttached();
    let isMissed = true;
    let refused = 0;
    world.guard.hook = ({ name }) => {
      // Of the two that a round reads one after the other the second: the first holds the credential.
      if (isMissed && name === 'cluster.secrets.get' && world.guard.names.at(-2) === name) return { old: undefined };
      if (!isMissed || name !== 'cluster.secrets.put') return undefined;
      refused += 1;
      return { refused: 'CLUSTER_CONFLICT' };
    };
    await world.cluster.changeWorkload(world.book, looked);
    await world.until(() => refused > 0);
    isMissed = false;
    await world.run(30_000);
    expect(world.control.keys().filter(({ valid }) => valid)).toHaveLength(1);
  });
});
