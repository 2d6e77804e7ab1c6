import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bringCrowd, type Crowd, crowdOut, dismiss } from './support/crowd.ts';
import type { Side } from './support/exchange.ts';
import { faultNamed } from './support/faults.ts';
import { MOST_DELAY_MS, RECOVERS_WITHIN_MS } from './support/limits.ts';
import { World } from './support/world.ts';

/** So few that one customer would have them all, if it could. */
const PLACES = 4;
const BOOKS = 10;
/** What hangs holds its place longer than another attach may be late. */
const HANGS_MS = MOST_DELAY_MS * 2;
const SIDES: readonly Side[] = ['kubernetes', 'control'];

let world: World;
let crowd: Crowd;
beforeAll(async () => {
  world = await World.open({ name: 'q', kubernetes: { timeoutMs: HANGS_MS }, control: { timeoutMs: HANGS_MS }, manager: { concurrency: PLACES } });
  crowd = await bringCrowd(world, BOOKS);
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

describe(`a manager with ${PLACES} places, and a customer with ${BOOKS} books whose answers all hang`, () => {
  it.each(SIDES)('%s: another customer’s attach waits for none of them', async (side) => {
    const seen = await crowdOut(world, crowd, { side, fault: faultNamed('hang') });
    process.stderr.write(`faults: ${PLACES} places: ${side}: ${JSON.stringify(seen)}\n`);
    expect(seen.attachMeanwhileMs).toBeLessThanOrEqual(seen.attachBeforeMs * 2 + MOST_DELAY_MS);
    expect(seen.recoveredMs).toBeLessThanOrEqual(RECOVERS_WITHIN_MS);
  });

  it('all of it is taken away cleanly', async () => {
    await dismiss(world, crowd);
  });
});
