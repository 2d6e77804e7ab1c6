import { pause } from '../../support/pause.ts';
import { Counter, describePoint, type Point } from './points.ts';
import { effectOf } from './round.ts';
import type { World } from './world.ts';

/** Once it is up. How long that takes is the machine's. */
const REACHED_WITHIN_MS = 3_000;

/** A manager starts, dies at the first point, the next one at the second, and one more starts: it must come up. */
export async function playStart(
  world: World,
  points: readonly Point[],
): Promise<{ readonly hit: readonly Point[]; readonly failure: string | undefined }> {
  const hit: Point[] = [];
  for (const point of points) if (await dies(world, point)) hit.push(point);
  await world.replaceManager();
  try {
    await world.manager.up();
    return { hit, failure: undefined };
  } catch (error) {
    return { hit, failure: [points.map(describePoint).join(', then '), String(error), ...world.manager.lines.slice(-25)].join('\n    ') };
  }
}

async function dies(world: World, point: Point): Promise<boolean> {
  const counter = new Counter('');
  const held = Promise.withResolvers<boolean>();
  const killed = Promise.withResolvers<void>();
  using _treat = world.treat((exchange) => {
    if (!counter.count(exchange)(point)) return undefined;
    return async ({ forward, response }) => {
      if (point.moment === 'after') await effectOf(exchange, forward);
      held.resolve(true);
      await killed.promise;
      response.destroy();
    };
  });
  await world.replaceManager();
  const isOver = world.manager.up().then(
    () => pause(REACHED_WITHIN_MS, false),
    () => false,
  );
  const isHit = await Promise.race([held.promise, isOver]);
  await world.manager.kill();
  killed.resolve();
  return isHit;
}
